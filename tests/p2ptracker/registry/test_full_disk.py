"""A disk that fills in the middle of an upload: the client is told so, and nothing is mixed up."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pdeploy.errors import UnavailableError
from p2pdeploy.messages.upload import CHUNK_HEADER, END_OF_CHUNKS
from p2pdeploy.payload.build import Built
from p2ptracker.registry import spool
from p2ptracker.registry.spool import Received, Spool

Payload = Callable[..., Built]
TORN_BYTES = 6  # one number and a half


def tear_the_journal(monkeypatch: pytest.MonkeyPatch, *, blobs_too: bool = False) -> None:
    """Have the disk take six bytes more of any journal, and of the blobs everything or nothing."""
    write = spool._pwrite_all

    def fill(descriptor: int, data: memoryview, offset: int) -> None:
        is_journal = os.readlink(f"/proc/self/fd/{descriptor}").endswith("/journal")
        if is_journal:
            write(descriptor, data[:TORN_BYTES], offset)
        if is_journal or blobs_too:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(descriptor, data, offset)

    monkeypatch.setattr(spool, "_pwrite_all", fill)


def received(built: Built, opened: Spool, numbers: range) -> list[Received]:
    chunks = [opened.chunks[number] for number in numbers]
    return [
        Received(
            chunk.number,
            memoryview(built.sources.pread(chunk.blob_index, chunk.offset_bytes, chunk.size_bytes)),
        )
        for chunk in chunks
    ]


def arrived(opened: Spool) -> list[int]:
    return [chunk.number for chunk in opened.chunks if opened.has(chunk.number)]


def test_a_number_that_a_full_disk_tore_shifts_none_that_come_after(
    tmp_path: Path, payload: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, place = payload(), tmp_path / "spool"
    opened = Spool(place, built.manifest_bytes, built.chunk_index_bytes)
    opened.write(received(built, opened, range(2)))
    with monkeypatch.context() as patched:
        tear_the_journal(patched)
        with pytest.raises(UnavailableError, match=os.strerror(errno.ENOSPC)):
            opened.write(received(built, opened, range(2, 6)))
    assert arrived(opened) == [0, 1]
    opened.write(received(built, opened, range(6, 9)))
    opened.close()
    opened = Spool(place, built.manifest_bytes, built.chunk_index_bytes)
    assert arrived(opened) == [0, 1, 6, 7, 8]
    opened.close()


def test_chunks_are_taken_back_in_the_old_journal_when_no_new_one_can_be_written(
    tmp_path: Path, payload: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number would be another file's by the time the next chunk comes."""
    built = payload()
    opened = Spool(tmp_path / "spool", built.manifest_bytes, built.chunk_index_bytes)
    opened.write(received(built, opened, range(3)))

    def fail(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(spool, "_write_atomically", fail)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            opened.forget([1])
    assert arrived(opened) == [0, 2]
    opened.write(received(built, opened, range(1, 4)))
    assert arrived(opened) == [0, 1, 2, 3]
    opened.close()


@pytest.mark.parametrize("blobs_too", [False, True])
async def test_a_publisher_is_told_that_the_disk_is_full_and_goes_on_later(
    tracker, payload: Payload, monkeypatch: pytest.MonkeyPatch, blobs_too: bool
) -> None:
    built = payload()
    begun = await tracker.begun("1.0.0", built)
    with monkeypatch.context() as patched:
        tear_the_journal(patched, blobs_too=blobs_too)
        async with await tracker.connect(begun) as stream:
            for number in tracker.numbers(begun)[:4]:
                await stream.send_all(tracker.chunk(built, number))
            await stream.send_all(CHUNK_HEADER.pack(END_OF_CHUNKS, 0))
            assert await tracker.refusal(stream) == "registry-disk"
    assert (await tracker.publish("1.0.0", built)).status_code == 200
