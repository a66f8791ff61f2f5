"""A built manifest says what the tree is, byte for byte."""

from __future__ import annotations

import os
from pathlib import Path

import blake3
import pytest

from p2pdeploy.errors import PayloadError
from p2pdeploy.ids import ServiceName
from p2pdeploy.manifest import ChunkIndex, Manifest, digest_of
from p2pdeploy.payload.build import Built, build
from p2pdeploy.payload.layout import PACK_BYTES_MAX, piece_size_for, plan_blobs
from p2pdeploy.payload.walk import Found, Identity, walk

HELLO = ServiceName("hello")
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def test_each_file_is_found_again_at_its_place_in_its_blob(mixed: Built, tmp_path: Path) -> None:
    with mixed.sources as sources:
        for entry in mixed.manifest.entries:
            if entry.kind != "file":
                continue
            data = (tmp_path / "payload" / entry.path).read_bytes()
            assert (entry.size_bytes, entry.digest) == (len(data), digest_of(data))
            if data:
                got = sources.pread(entry.blob_index, entry.offset_bytes, entry.size_bytes)
                assert got == data
            else:
                assert entry.blob_index == -1


def test_digests_of_blobs_and_chunks_are_those_of_their_bytes(mixed: Built) -> None:
    for number, (blob, chunks) in enumerate(
        zip(mixed.manifest.blobs, mixed.chunk_index.blobs, strict=True)
    ):
        data = mixed.sources.pread(number, 0, blob.size_bytes)
        assert digest_of(data) == blob.digest
        at = 0
        for i, size in enumerate(chunks.sizes_bytes):
            assert blake3.blake3(data[at : at + size]).digest() == chunks.digests[32 * i :][:32]
            at += size
        assert at == blob.size_bytes
    mixed.sources.close()


def test_a_blob_of_several_windows_is_read_whole(make_tree, monkeypatch) -> None:
    root = make_tree({"big": os.urandom(9 * MIB + 12_345)})
    one = build(root, HELLO)
    monkeypatch.setattr("p2pdeploy.payload.reading.WINDOW_BYTES", 512 * KIB)
    assert build(root, HELLO).manifest_bytes == one.manifest_bytes
    assert one.manifest.blobs[1].digest == digest_of((root / "big").read_bytes())


def test_small_files_share_a_pack_in_path_order_and_large_ones_stand_alone(mixed: Built) -> None:
    assert [blob.path for blob in mixed.manifest.blobs] == [
        *(".p2pdeploy/pack-0000", "big/model.bin", "big.dat")
    ]
    packed = [e.path for e in mixed.manifest.entries if e.blob_index == 0]
    assert packed == ["bin/run", "lib/a", "service.toml"]


def test_modes_links_and_empty_folders_are_kept(mixed: Built) -> None:
    entries = {entry.path: entry for entry in mixed.manifest.entries}
    assert entries["bin/run"].mode == 0o755
    assert (entries["lib/link"].kind, entries["lib/link"].target) == ("link", "../bin/run")
    assert (entries["folder/void"].kind, entries["folder/void"].mode) == ("dir", 0o755)


def test_the_same_tree_elsewhere_is_the_same_release(make_tree) -> None:
    files: dict[str, object] = {"x/y": b"1", "big": bytes(MIB)}
    one = build(make_tree(files, name="one"), HELLO)
    two = make_tree(dict(reversed(files.items())), name="two")
    os.utime(two / "x/y", (1, 1))
    assert build(two, HELLO).manifest_digest == one.manifest_digest


def test_canonical_bytes_decode_to_the_same_release(mixed: Built) -> None:
    assert Manifest.from_bytes(mixed.manifest_bytes) == mixed.manifest
    assert ChunkIndex.from_bytes(mixed.chunk_index_bytes) == mixed.chunk_index
    assert digest_of(mixed.chunk_index_bytes) == mixed.manifest.chunk_index


def test_progress_ends_at_the_total(make_tree) -> None:
    seen: list[tuple[int, int]] = []
    built = build(
        make_tree({"big": bytes(9 * MIB)}),
        HELLO,
        progress=lambda done, total: seen.append((done, total)),
    )
    total = built.manifest.size_bytes
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (total, total)
    assert len(seen) >= 3


def test_a_file_that_grows_while_it_is_read_is_refused(make_tree) -> None:
    root = make_tree({"big": bytes(9 * MIB)})

    def grow(done: int, total: int) -> None:
        with (root / "big").open("ab") as file:
            file.write(b"x")

    with pytest.raises(PayloadError, match=r"big: changed while it was read"):
        build(root, HELLO, progress=grow)


def test_a_file_that_was_read_and_then_changed_is_refused(make_tree) -> None:
    """Same size, and written after its own reading was over."""
    root = make_tree({"a": bytes(MIB), "b": bytes(MIB)})

    def rewrite(done: int, total: int) -> None:
        if done >= 2 * MIB:
            (root / "a").write_bytes(b"x" * MIB)

    with pytest.raises(PayloadError, match=r"/a: changed while it was read"):
        build(root, HELLO, progress=rewrite)


def test_a_file_that_appears_while_the_tree_is_read_is_refused(make_tree) -> None:
    root = make_tree({"a": bytes(MIB)})
    with pytest.raises(PayloadError, match="changed while it was read"):
        build(root, HELLO, progress=lambda *_: (root / "late").write_bytes(b""))


def test_a_source_that_changed_after_the_build_is_refused(make_tree) -> None:
    root = make_tree({"a": bytes(MIB)})
    built = build(root, HELLO)
    (root / "a").write_bytes(b"x" * MIB)
    with pytest.raises(PayloadError, match="changed while it was read"):
        built.sources.pread(0, 0, 10) and built.sources.pread(1, 0, 10)
    built.sources.close()


def test_the_tree_of_another_service_is_refused(make_tree) -> None:
    with pytest.raises(
        PayloadError, match=r"service\.toml:2: service\.name: is 'hello', but 'web'"
    ):
        build(make_tree(), ServiceName("web"))


def test_a_tree_without_service_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(PayloadError, match=r"has no service\.toml"):
        build(tmp_path, HELLO)


@pytest.mark.parametrize(
    ("size_bytes", "piece_bytes"),
    [
        *((1, 32 * KIB), (24 * MIB, 32 * KIB), (256 * MIB, 256 * KIB), (GIB, MIB)),
        *((1000 * 96 * KIB, 128 * KIB), (1000 * 96 * KIB - 1, 64 * KIB), (10**12, 16 * MIB)),
    ],
)
def test_piece_size_is_the_nearest_power_of_two(size_bytes: int, piece_bytes: int) -> None:
    assert piece_size_for(size_bytes) == piece_bytes


def test_a_pack_ends_before_it_grows_above_its_limit() -> None:
    size = MIB - 1
    files = [
        Found(f"{n:04d}", "file", 0o644, size, "", Identity(0, n, size, 0, 0)) for n in range(130)
    ]
    plans = plan_blobs(files)
    assert [plan.path for plan in plans] == [f".p2pdeploy/pack-000{n}" for n in range(3)]
    assert [f for plan in plans for f in plan.files] == files
    assert all(plan.size_bytes <= PACK_BYTES_MAX for plan in plans)
    assert all(plan.size_bytes > PACK_BYTES_MAX - MIB for plan in plans[:-1])


def test_a_walk_lists_a_folder_before_its_content_and_siblings_after(make_tree) -> None:
    root = make_tree({"a/x": b"", "a-b": b"", "a.b": b""})
    assert [found.path for found in walk(root)] == ["a", "a/x", "a-b", "a.b", "service.toml"]
