"""Hostile manifests of each kind are refused before anything is done with them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pdeploy.errors import IntegrityError, ProtocolError
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.limits import CHUNK_INDEX_BYTES_MAX
from p2pdeploy.manifest import BlobChunks, ChunkIndex, Entry, Manifest, digest_of
from p2pdeploy.payload.build import Built, build
from p2pdeploy.payload.check import check_chunk_index, check_manifest

TOML = b"""
[service]
name = "hello"
[run]
command = ["./bin/run"]
[health]
tcp = "$HOST:$PORT"
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Entries: bin, bin/link, bin/run, empty, large, service.toml; blobs: a pack, large."""
    root: Path = tmp_path_factory.mktemp("payload")
    (root / "bin").mkdir(mode=0o755)
    (root / "service.toml").write_bytes(TOML)
    (root / "bin/run").write_bytes(b"#!/bin/sh\n")
    (root / "bin/run").chmod(0o755)
    (root / "bin/link").symlink_to("../large")
    (root / "empty").write_bytes(b"")
    (root / "large").write_bytes(random.Random(1).randbytes(1_500_000))
    result = build(root, ServiceName("hello"))
    assert [e.path for e in result.manifest.entries] == [
        *("bin", "bin/link", "bin/run", "empty", "large", "service.toml")
    ]
    return result


def edited(manifest: Manifest, path: str, **changes: object) -> Manifest:
    entries = tuple(
        msgspec.structs.replace(e, **changes) if e.path == path else e for e in manifest.entries
    )
    return msgspec.structs.replace(manifest, entries=entries)


def blob_edited(manifest: Manifest, number: int, **changes: object) -> Manifest:
    blobs = list(manifest.blobs)
    blobs[number] = msgspec.structs.replace(blobs[number], **changes)
    return msgspec.structs.replace(manifest, blobs=tuple(blobs))


def with_entry(manifest: Manifest, **fields: object) -> Manifest:
    entries = [*manifest.entries, msgspec.convert(fields, Entry)]
    entries.sort(key=lambda e: e.path.split("/"))
    return msgspec.structs.replace(manifest, entries=tuple(entries))


def a_link(target: str, path: str = "link") -> Callable[[Manifest], Manifest]:
    return lambda m: with_entry(m, path=path, kind="link", mode=0o777, target=target)


def an_empty_file(path: str) -> Callable[[Manifest], Manifest]:
    return lambda m: with_entry(m, path=path, digest=digest_of(b""))


HOSTILE: dict[str, Callable[[Manifest], Manifest]] = {
    "absolute path": an_empty_file("/etc/passwd"),
    "climbing path": an_empty_file("bin/../../x"),
    "parent as a path": an_empty_file(".."),
    "dot in a path": an_empty_file("bin/./x"),
    "empty path": an_empty_file(""),
    "empty component": an_empty_file("bin//x"),
    "NUL in a path": an_empty_file("bin/\0"),
    "newline in a path": an_empty_file("bin/a\nb"),
    "C1 control in a path": an_empty_file("bin/\x9b"),
    "reserved name": an_empty_file(".p2pdeploy"),
    "name too long": an_empty_file("n" * 256),
    "path too long": an_empty_file("/".join(["n" * 200] * 6)),
    "too deep": an_empty_file("/".join("d" * 60)),
    "path below a link": an_empty_file("bin/link/x"),
    "path below a file": an_empty_file("empty/x"),
    "path without its folder": an_empty_file("nowhere/x"),
    "path twice": lambda m: msgspec.structs.replace(m, entries=(m.entries[0], *m.entries)),
    "out of order": lambda m: msgspec.structs.replace(m, entries=m.entries[::-1]),
    "ordered as text": lambda m: msgspec.structs.replace(
        with_entry(m, path="bin-x", digest=digest_of(b"")),
        entries=tuple(
            sorted(with_entry(m, path="bin-x", digest=digest_of(b"")).entries, key=lambda e: e.path)
        ),
    ),
    "no entries": lambda m: msgspec.structs.replace(m, entries=(), blobs=()),
    "no service.toml": lambda m: msgspec.structs.replace(m, entries=m.entries[:-1]),
    "absolute link": a_link("/etc/passwd"),
    "climbing link": a_link("../x"),
    "climbing link from a folder": a_link("../../x", "bin/up"),
    "link that climbs after a name": a_link("bin/../../x"),
    "link through a link": a_link("bin/link/../.."),
    "link to nothing": a_link(""),
    "link with an empty name": a_link("link//a"),
    "link with a line separator": a_link("/a\u2028b"),
    "link with NUL": a_link("a\0b"),
    "link with a mode": lambda m: edited(m, "bin/link", mode=0o755),
    "link with bytes": lambda m: edited(m, "bin/link", size_bytes=3),
    "set-user-id": lambda m: edited(m, "bin/run", mode=0o4755),
    "sticky folder": lambda m: edited(m, "bin", mode=0o1777),
    "mode with a file type": lambda m: edited(m, "empty", mode=0o100644),
    "negative mode": lambda m: edited(m, "empty", mode=-1),
    "unreadable file": lambda m: edited(m, "empty", mode=0o200),
    "closed folder": lambda m: edited(m, "bin", mode=0o600),
    "folder with a target": lambda m: edited(m, "bin", target="x"),
    "folder with a digest": lambda m: edited(m, "bin", digest=digest_of(b"")),
    "file with a target": lambda m: edited(m, "empty", target="x"),
    "negative size": lambda m: edited(m, "empty", size_bytes=-1),
    "giant size": lambda m: edited(m, "empty", size_bytes=1 << 60),
    "empty file with a blob": lambda m: edited(m, "empty", blob_index=0),
    "empty file with a digest": lambda m: edited(m, "empty", digest=digest_of(b"x")),
    "upper-case digest": lambda m: edited(m, "bin/run", digest=Digest("A" * 64)),
    "blob that does not exist": lambda m: edited(m, "bin/run", blob_index=7),
    "negative blob": lambda m: edited(m, "bin/run", blob_index=-2),
    "file of another blob": lambda m: edited(m, "bin/run", blob_index=1),
    "offset past the pack": lambda m: edited(m, "service.toml", offset_bytes=1 << 40),
    "overlap in the pack": lambda m: edited(m, "service.toml", offset_bytes=0),
    "large file with an offset": lambda m: edited(m, "large", offset_bytes=1),
    "size that does not add up": lambda m: edited(m, "service.toml", size_bytes=5),
    "large file of another digest": lambda m: edited(m, "large", digest=digest_of(b"x")),
    "blob of another size": lambda m: blob_edited(m, 1, size_bytes=1_500_001),
    "pack of another size": lambda m: blob_edited(m, 0, size_bytes=999),
    "pack of another name": lambda m: blob_edited(m, 0, path=".p2pdeploy/pack-0001"),
    "blob at a hostile path": lambda m: blob_edited(m, 1, path="../large"),
    "blob twice": lambda m: msgspec.structs.replace(m, blobs=(*m.blobs, m.blobs[1])),
    "blob missing": lambda m: msgspec.structs.replace(m, blobs=m.blobs[:1]),
    "blobs out of order": lambda m: msgspec.structs.replace(m, blobs=m.blobs[::-1]),
    "blob with a bad digest": lambda m: blob_edited(m, 0, digest=Digest("zz")),
    "short root": lambda m: blob_edited(m, 0, pieces_root=b"x"),
    "layer where none may be": lambda m: blob_edited(m, 0, piece_layer=bytes(32)),
    "layer missing": lambda m: blob_edited(m, 1, piece_layer=b""),
    "layer cut": lambda m: blob_edited(m, 1, piece_layer=m.blobs[1].piece_layer[:-32]),
    "layer of another root": lambda m: blob_edited(
        m, 1, piece_layer=bytes(len(m.blobs[1].piece_layer))
    ),
    "root of another layer": lambda m: blob_edited(m, 1, pieces_root=bytes(32)),
    "piece size zero": lambda m: msgspec.structs.replace(m, piece_size_bytes=0),
    "piece size odd": lambda m: msgspec.structs.replace(m, piece_size_bytes=16385),
    "piece size too large": lambda m: msgspec.structs.replace(m, piece_size_bytes=1 << 30),
    "service name that climbs": lambda m: msgspec.structs.replace(m, service=ServiceName("../x")),
    "chunk index too large": lambda m: msgspec.structs.replace(
        m, chunk_index_bytes=CHUNK_INDEX_BYTES_MAX + 1
    ),
    "chunk index of no digest": lambda m: msgspec.structs.replace(m, chunk_index=Digest("x")),
}


def test_an_honest_manifest_passes(built: Built) -> None:
    check_manifest(built.manifest)
    check_manifest(Manifest.from_bytes(built.manifest_bytes))
    assert check_chunk_index(built.manifest, built.chunk_index_bytes) == built.chunk_index


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_manifest_is_refused(built: Built, kind: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        check_manifest(HOSTILE[kind](built.manifest))
    assert "\n" not in str(caught.value), "one line"
    assert str(caught.value).isprintable()


def test_an_unknown_format_is_refused(built: Built) -> None:
    with pytest.raises(ProtocolError, match="format 2"):
        check_manifest(msgspec.structs.replace(built.manifest, format=2))


def _with_index(manifest: Manifest, index: ChunkIndex) -> tuple[Manifest, bytes]:
    data = index.to_bytes()
    named = {"chunk_index": digest_of(data), "chunk_index_bytes": len(data)}
    return msgspec.structs.replace(manifest, **named), data


def test_another_chunk_index_is_refused(built: Built) -> None:
    with pytest.raises(IntegrityError, match="does not have its digest"):
        check_chunk_index(built.manifest, built.chunk_index_bytes + b"x")


CHUNKS = BlobChunks(bytes(32), (100,))


@pytest.mark.parametrize(
    "change",
    [
        lambda blobs: (),
        lambda blobs: (*blobs, CHUNKS),
        lambda blobs: (CHUNKS, *blobs[1:]),
        lambda blobs: (BlobChunks(blobs[0].digests[:-1], blobs[0].sizes_bytes), *blobs[1:]),
        lambda blobs: (blobs[0], BlobChunks(bytes(32), (1_500_000,))),
        lambda blobs: (blobs[0], BlobChunks(bytes(64), (1_500_001, -1))),
        lambda blobs: (
            blobs[0],
            BlobChunks(blobs[1].digests + bytes(32), (*blobs[1].sizes_bytes, 0)),
        ),
    ],
)
def test_a_hostile_chunk_index_is_refused(built: Built, change: Callable[..., object]) -> None:
    index = ChunkIndex(change(built.chunk_index.blobs))  # pyright: ignore[reportArgumentType]
    manifest, data = _with_index(built.manifest, index)
    with pytest.raises(IntegrityError):
        check_chunk_index(manifest, data)


@settings(max_examples=300)
@given(st.data())
def test_a_manifest_with_any_byte_changed_is_refused_or_still_sound(
    built: Built, data: st.DataObject
) -> None:
    """Whatever the bytes: a clear refusal or a manifest that passes, never another error."""
    raw = bytearray(built.manifest_bytes)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        check_manifest(Manifest.from_bytes(bytes(raw)))
    except (IntegrityError, ProtocolError):
        return
