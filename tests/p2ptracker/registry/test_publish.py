"""Publishing against a real server: exactly once, resumable, never half, never wrong bytes."""

from __future__ import annotations

import datetime as dt
import errno
import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
import pytest
import trio

from p2pdeploy import bencode
from p2pdeploy.manifest import ChunkIndex, Manifest, digest_of
from p2pdeploy.merkle import PieceTree
from p2pdeploy.messages.api import ReleaseView
from p2pdeploy.messages.upload import CHUNK_BYTES_MAX, CHUNK_HEADER, END_OF_CHUNKS
from p2pdeploy.payload.build import Built
from p2ptracker.authority.create import create_trust
from p2ptracker.authority.folder import TrustPaths
from p2ptracker.registry import commit, spool
from p2ptracker.registry.uploads import UPLOAD_LIFETIME_S
from tests.p2ptracker.tracker_bench import words_of
from tests.trust_folder import host_files, operator_files

Payload = Callable[..., Built]


def code_of(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_published_release_is_served_whole(tracker, payload: Payload) -> None:
    built = payload()
    answer = await tracker.publish("1.0.0", built)
    assert answer.status_code == 200, answer.text
    view = msgspec.json.decode(answer.content, type=ReleaseView)
    assert view.manifest_digest == built.manifest_digest
    assert view.size_bytes == built.manifest.size_bytes
    assert view.file_count == 8
    shown = await tracker.http.get("/v1/releases/hello/1.0.0")
    signed = msgspec.structs.replace(view, state="signed")
    assert msgspec.json.decode(shown.content, type=ReleaseView) == signed
    manifest = await tracker.http.get(f"/v1/manifests/{view.manifest_digest}")
    assert manifest.content == built.manifest_bytes
    chunks = await tracker.http.get(f"/v1/manifests/{view.manifest_digest}/chunks")
    assert chunks.content == built.chunk_index_bytes
    torrent = await tracker.http.get(view.torrent_path)
    info = bencode.decode(torrent.content, bytes_max=10**6)[b"info"]
    assert info[b"name"].decode() == view.manifest_digest
    for index, blob in enumerate(built.manifest.blobs):
        stored = tracker.plane.store.read(blob.digest, 0, blob.size_bytes)
        assert stored == built.sources.pread(index, 0, blob.size_bytes)


async def test_the_same_bytes_again_need_nothing(tracker, payload: Payload) -> None:
    built = payload()
    await tracker.publish("1.0.0", built)
    begun = await tracker.begun("1.0.0", built)
    assert begun.state == "published"
    assert (await tracker.commit("1.0.0", built)).status_code == 200


async def test_other_bytes_under_the_version_are_refused_and_change_nothing(
    tracker, payload: Payload
) -> None:
    await tracker.publish("1.0.0", payload(1))
    other = payload(2)
    assert code_of(await tracker.begin("1.0.0", other)) == (409, "version-exists")
    assert code_of(await tracker.commit("1.0.0", other)) == (409, "version-exists")
    shown = (await tracker.http.get("/v1/releases/hello/1.0.0")).json()
    assert shown["manifest_digest"] == payload(1).manifest_digest


async def test_the_same_bytes_under_a_new_version_send_nothing(tracker, payload: Payload) -> None:
    built = payload()
    await tracker.publish("1.0.0", built)
    begun = await tracker.begun("1.0.1", built)
    assert (begun.state, begun.missing) == ("uploading", [])
    assert (await tracker.commit("1.0.1", built)).status_code == 200


async def test_only_chunks_that_changed_are_asked_for(tracker, payload: Payload) -> None:
    await tracker.publish("1.0.0", payload(1))
    changed = payload(1, extra=b"inserted")
    begun = await tracker.begun("1.1.0", changed)
    missing = sum(count for _, count in begun.missing)
    total = sum(len(blob.sizes_bytes) for blob in changed.chunk_index.blobs)
    assert 0 < missing <= 3 < total
    assert (await tracker.publish("1.1.0", changed)).status_code == 200
    blob = changed.manifest.blobs[-1]
    stored = tracker.plane.store.read(blob.digest, 0, blob.size_bytes)
    assert digest_of(stored) == blob.digest


async def test_a_chunk_that_occurs_twice_is_sent_once(tracker, tmp_path: Path, payload) -> None:
    payload(1)
    tree = tmp_path / "payloads" / "1-0"
    (tree / "twin.bin").write_bytes((tree / "data.bin").read_bytes() + b"tail" * 300_000)
    built = payload(1)
    begun = await tracker.begun("1.0.0", built)
    ack = await tracker.upload(begun, built)
    assert ack.durable_bytes < built.manifest.size_bytes - 1_000_000
    assert (await tracker.commit("1.0.0", built)).status_code == 200


async def test_two_identical_large_files_are_one_blob(tracker, tmp_path: Path, payload) -> None:
    payload(1)
    tree = tmp_path / "payloads" / "1-0"
    (tree / "twin.bin").write_bytes((tree / "data.bin").read_bytes())
    assert (await tracker.publish("1.0.0", payload(1))).status_code == 200


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


async def test_a_corrupt_chunk_is_refused_and_not_stored(tracker, payload: Payload) -> None:
    built = payload()
    begun = await tracker.begun("1.0.0", built)
    async with await tracker.connect(begun) as stream:
        await stream.send_all(tracker.chunk(built, 0) + tracker.chunk(built, 1, spoil=True))
        await stream.send_all(CHUNK_HEADER.pack(END_OF_CHUNKS, 0))
        assert await tracker.refusal(stream) == "chunk-corrupt"
    again = await tracker.begun("1.0.0", built)
    assert again.missing[0][0] == 1, "the good one stays, the bad one is asked for again"


@pytest.mark.parametrize(
    "junk",
    [
        CHUNK_HEADER.pack(0, CHUNK_BYTES_MAX + 1),
        CHUNK_HEADER.pack(4_000_000, 5) + b"12345" + CHUNK_HEADER.pack(END_OF_CHUNKS, 0),
        CHUNK_HEADER.pack(0, 5) + b"12345" + CHUNK_HEADER.pack(END_OF_CHUNKS, 0),
        CHUNK_HEADER.pack(0, 0),
    ],
)
async def test_a_malformed_upload_is_refused(tracker, payload: Payload, junk: bytes) -> None:
    begun = await tracker.begun("1.0.0", payload())
    async with await tracker.connect(begun) as stream:
        await stream.send_all(junk)
        assert await tracker.refusal(stream) == "protocol"


async def test_an_upload_of_nobody_who_publishes_is_refused(tracker, payload: Payload) -> None:
    begun = await tracker.begun("1.0.0", payload())
    host = host_files(tracker.folder, tracker.plane.inventory[0])
    for files in (operator_files(tracker.folder, "eve", "viewer"), host):
        async with await tracker.connect(begun, files) as stream:
            assert await tracker.refusal(stream) == "forbidden"


async def test_an_upload_with_a_foreign_certificate_gets_no_word(
    tracker, payload: Payload, tmp_path: Path
) -> None:
    begun = await tracker.begun("1.0.0", payload())
    create_trust(tmp_path / "foreign", "lab", now=dt.datetime.now(dt.UTC))
    foreign = TrustPaths(tmp_path / "foreign").operator_files()
    disguised = msgspec.structs.replace(foreign, authority=tracker.identity.authority)
    async with await tracker.connect(begun, disguised) as stream:
        with pytest.raises(trio.BrokenResourceError):
            await words_of(stream)


async def test_an_upload_key_that_was_guessed_is_refused(tracker, payload: Payload) -> None:
    begun = await tracker.begun("1.0.0", payload())
    begun = msgspec.structs.replace(begun, upload_key="guessed")
    async with await tracker.connect(begun) as stream:
        assert await tracker.refusal(stream) == "unauthorised"


async def test_bytes_that_rot_in_the_spool_are_found_and_asked_for_again(
    tracker, payload: Payload
) -> None:
    built = payload()
    await tracker.upload(await tracker.begun("1.0.0", built), built)
    folder = tracker.folder / "tracker" / "uploads" / built.manifest_digest
    largest = max(folder.glob("blob-*"), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(700_000)
        file.write(b"rot")
    assert code_of(await tracker.commit("1.0.0", built)) == (409, "chunks-missing")
    begun = await tracker.begun("1.0.0", built)
    assert sum(count for _, count in begun.missing) == 1
    assert (await tracker.publish("1.0.0", built)).status_code == 200


async def test_bytes_that_rot_in_the_store_are_not_copied_into_a_new_release(
    tracker, payload: Payload
) -> None:
    old, new = payload(1), payload(1, extra=b"inserted")
    await tracker.publish("1.0.0", old)
    largest = max(old.manifest.blobs, key=lambda blob: blob.size_bytes)
    with tracker.plane.store.local_path(largest.digest).open("r+b") as file:
        file.write(b"rot")
    await tracker.upload(await tracker.begun("1.1.0", new), new)
    assert code_of(await tracker.commit("1.1.0", new)) == (409, "chunks-missing")
    assert (await tracker.publish("1.1.0", new)).status_code == 200


async def test_a_manifest_that_lies_about_a_tree_or_a_packed_file_is_refused(
    tracker, payload: Payload
) -> None:
    built = payload()
    blob = built.manifest.blobs[0]
    tree = PieceTree(built.manifest.piece_size_bytes)
    tree.feed(bytes(blob.size_bytes))
    root, layer = tree.finish()
    wrong_root = msgspec.structs.replace(blob, pieces_root=root, piece_layer=layer)
    packed = next(e for e in built.manifest.entries if e.path == "bin/tool3")
    wrong_file = msgspec.structs.replace(packed, digest=digest_of(b"other"))
    lies = [
        msgspec.structs.replace(built.manifest, blobs=(wrong_root, *built.manifest.blobs[1:])),
        msgspec.structs.replace(
            built.manifest,
            entries=tuple(wrong_file if e == packed else e for e in built.manifest.entries),
        ),
    ]
    for number, lie in enumerate(lies):
        lying = with_manifest(built, lie)
        answer = await tracker.publish(f"1.{number}", lying)
        assert code_of(answer) == (422, "manifest-lies")
        assert code_of(await tracker.commit(f"1.{number}", lying)) == (409, "chunks-missing")


async def test_hostile_manifests_are_refused_before_anything_is_stored(
    tracker, payload: Payload
) -> None:
    built = payload()
    climbing = tuple(
        msgspec.structs.replace(e, path="../../etc/passwd") if e.path == "empty" else e
        for e in built.manifest.entries
    )
    index = ChunkIndex(built.chunk_index.blobs[:-1]).to_bytes()
    fewer = msgspec.structs.replace(
        built.manifest, chunk_index=digest_of(index), chunk_index_bytes=len(index)
    )
    hostile = [
        with_manifest(built, msgspec.structs.replace(built.manifest, entries=climbing)),
        built._replace(manifest_bytes=built.manifest_bytes[:-1]),
        built._replace(manifest_bytes=b"\xff" * 100),
        built._replace(chunk_index_bytes=built.chunk_index_bytes + b"x"),
        with_manifest(built, fewer)._replace(chunk_index_bytes=index),
        built._replace(manifest_bytes=spelled_otherwise(built.manifest)),
    ]
    for number, bad in enumerate(hostile):
        answer = await tracker.begin("1.0.0", bad)
        assert answer.status_code in (400, 422), (number, answer.text)
        assert "Traceback" not in answer.text
    assert not list((tracker.folder / "tracker").glob("uploads/*"))


async def test_a_payload_of_another_service_is_refused(tracker, payload: Payload) -> None:
    answer = await tracker.begin("1.0.0", payload(), service="other")
    assert code_of(answer) == (409, "other-service")


async def test_illegal_names_are_refused(tracker, payload: Payload) -> None:
    built = payload()
    for service, version in (("Hello", "1"), ("-x", "1"), ("hello", "1 0"), ("hello", "-1")):
        answer = await tracker.begin(version, built, service=service)
        assert answer.status_code == 409, answer.text
        assert answer.json()["error"]["code"] in ("bad-service-name", "bad-version")
    for climbing in ("..", "a%2Fb"):
        assert (await tracker.begin("1", built, service=climbing)).status_code in (404, 405, 409)


async def test_one_of_two_concurrent_publishes_of_other_bytes_wins(
    tracker, payload: Payload
) -> None:
    builds = [payload(1), payload(2)]
    for built in builds:
        await tracker.upload(await tracker.begun("1.0.0", built), built)
    answers = await all_at_once([lambda b=b: tracker.commit("1.0.0", b) for b in builds])
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert (await tracker.http.get("/v1/releases/hello")).json()[0]["manifest_digest"] == next(
        answer.json()["manifest_digest"] for answer in answers if answer.status_code == 200
    )


async def test_concurrent_publishes_of_the_same_bytes_all_succeed(
    tracker, payload: Payload
) -> None:
    built = payload()
    answers = await all_at_once([lambda: tracker.publish("1.0.0", payload()) for _ in range(3)])
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert {answer.json()["manifest_digest"] for answer in answers} == {built.manifest_digest}


async def all_at_once(calls: list) -> list:
    answers: list = []

    async def run(call) -> None:
        answers.append(await call())

    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(run, call)
    return answers


def with_manifest(built: Built, manifest: Manifest) -> Built:
    data = manifest.to_bytes()
    return built._replace(manifest=manifest, manifest_bytes=data, manifest_digest=digest_of(data))


def spelled_otherwise(manifest: Manifest) -> bytes:
    document = msgspec.to_builtins(manifest, builtin_types=(bytes,))
    document["comment"] = "an unknown field"
    return msgspec.msgpack.encode(document)


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
