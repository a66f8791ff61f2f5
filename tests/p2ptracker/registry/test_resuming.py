"""An upload goes on where it was cut, and one that nobody comes back for is dropped."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio

from p2pdeploy.messages.upload import CHUNK_HEADER, END_OF_CHUNKS
from p2pdeploy.payload.build import Built
from p2ptracker.registry import commit, spool
from p2ptracker.registry.upload_shares import UPLOAD_LIFETIME_S
from tests.p2ptracker.tracker_bench import code_of

Payload = Callable[..., Built]


async def test_an_upload_goes_on_where_it_was_cut(tracker, payload: Payload) -> None:
    from_start = payload()
    begun = await tracker.begun("1.0.0", from_start)
    numbers = tracker.numbers(begun)
    async with await tracker.connect(begun) as stream:
        for number in numbers[:10]:
            await stream.send_all(tracker.chunk(from_start, number))
        await stream.send_all(CHUNK_HEADER.pack(END_OF_CHUNKS, 0))
        with trio.fail_after(5):
            while await stream.receive_some(4096):
                pass
    again = await tracker.begun("1.0.0", from_start)
    assert tracker.numbers(again) == numbers[10:]


async def test_an_upload_survives_a_stop_of_the_registry(
    fleet_dir: Path, started: Callable[[Path], AbstractAsyncContextManager], payload: Payload
) -> None:
    built = payload()
    async with started(fleet_dir) as tracker:
        begun = await tracker.begun("1.0.0", built)
        await tracker.upload(begun, built)
    journal = fleet_dir / "tracker" / "uploads" / built.manifest_digest / "journal"
    with journal.open("ab") as torn:
        torn.write(b"\0\0")  # what a kill in the middle of a write leaves
    async with started(fleet_dir) as tracker:
        assert (await tracker.begun("1.0.0", built)).missing == []
        assert (await tracker.commit("1.0.0", built)).status_code == 200
    assert not journal.parent.exists()


async def test_a_commit_without_begin_after_a_restart_finishes_the_upload(
    fleet_dir: Path, started: Callable[[Path], AbstractAsyncContextManager], payload: Payload
) -> None:
    built = payload()
    async with started(fleet_dir) as tracker:
        await tracker.upload(await tracker.begun("1.0.0", built), built)
    async with started(fleet_dir) as tracker:
        assert (await tracker.commit("1.0.0", built)).status_code == 200


async def test_a_commit_with_chunks_missing_says_so(tracker, payload: Payload) -> None:
    built = payload()
    assert code_of(await tracker.commit("1.0.0", built)) == (409, "chunks-missing")
    await tracker.begun("1.0.0", built)
    assert code_of(await tracker.commit("1.0.0", built)) == (409, "chunks-missing")
    assert (await tracker.http.get("/v1/releases/hello/1.0.0")).status_code == 404


@pytest.mark.parametrize("trouble", [errno.ENOSPC, errno.EROFS, errno.EIO])
async def test_a_disk_that_takes_no_upload_is_an_outage_that_says_so(
    tracker, payload: Payload, monkeypatch: pytest.MonkeyPatch, trouble: int
) -> None:
    def fail(path: Path, data: bytes) -> None:
        raise OSError(trouble, os.strerror(trouble))

    built = payload()
    with monkeypatch.context() as patched:
        patched.setattr(spool, "_write_atomically", fail)
        answer = await tracker.begin("1.0.0", built)
    assert code_of(answer) == (503, "registry-disk")
    assert os.strerror(trouble) in answer.text
    assert (await tracker.publish("1.0.0", built)).status_code == 200


async def test_a_disk_that_fills_at_the_commit_is_an_outage_and_the_upload_goes_on(
    tracker, payload: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(spool: object, blobs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    built = payload()
    with monkeypatch.context() as patched:
        patched.setattr(commit, "sync_blobs", fail)
        assert code_of(await tracker.publish("1.0.0", built)) == (503, "registry-disk")
    assert (await tracker.commit("1.0.0", built)).status_code == 200


def make_old(tracker, built: Built) -> Path:
    """Let nothing have arrived of *built* for longer than an upload lives."""
    place = tracker.folder / "tracker" / "uploads" / built.manifest_digest
    long_ago = time.time() - UPLOAD_LIFETIME_S - 60
    os.utime(place / "journal", (long_ago, long_ago))
    return place


async def test_an_upload_nobody_came_back_for_is_closed_and_dropped(
    tracker, payload: Payload
) -> None:
    old, new = payload(1), payload(2)
    begun = await tracker.begun("1.0.0", old)
    await tracker.upload(begun, old)
    place = make_old(tracker, old)
    await tracker.begun("2.0.0", new)
    assert not place.exists()
    assert tracker.plane.publisher.spool_of(begun.upload_key) is None
    assert code_of(await tracker.commit("1.0.0", old)) == (409, "chunks-missing")
    assert (await tracker.publish("1.0.0", old)).status_code == 200


async def test_an_upload_that_still_receives_stays_however_old_its_folder(
    tracker, payload: Payload
) -> None:
    old, new = payload(1), payload(2)
    await tracker.upload(await tracker.begun("1.0.0", old), old)
    place = tracker.folder / "tracker" / "uploads" / old.manifest_digest
    os.utime(place, (1, 1))
    await tracker.begun("2.0.0", new)
    assert (await tracker.commit("1.0.0", old)).status_code == 200
