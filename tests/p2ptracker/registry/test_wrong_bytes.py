"""Wrong bytes against a real server: corrupt, rotten, of strangers, or with manifests that lie."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio

from p2pdeploy.manifest import ChunkIndex, Manifest, digest_of
from p2pdeploy.merkle import PieceTree
from p2pdeploy.messages.upload import CHUNK_BYTES_MAX, CHUNK_HEADER, END_OF_CHUNKS
from p2pdeploy.payload.build import Built
from p2ptracker.authority.create import create_trust
from p2ptracker.authority.folder import TrustPaths
from tests.p2ptracker.tracker_bench import code_of, words_of
from tests.trust_folder import host_files, operator_files

Payload = Callable[..., Built]


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


def with_manifest(built: Built, manifest: Manifest) -> Built:
    data = manifest.to_bytes()
    return built._replace(manifest=manifest, manifest_bytes=data, manifest_digest=digest_of(data))


def spelled_otherwise(manifest: Manifest) -> bytes:
    document = msgspec.to_builtins(manifest, builtin_types=(bytes,))
    document["comment"] = "an unknown field"
    return msgspec.msgpack.encode(document)
