"""The room of a release is known, taken before the first byte, and given back."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from p2pdeploy.ids import ServiceName
from p2pdeploy.payload import allocate as allocate_module
from p2pdeploy.payload import stage
from p2pdeploy.payload.allocate import allocate, allocated_bytes, free_unwritten, left_bytes
from p2pdeploy.payload.build import Built, build
from p2pdeploy.payload.delta import pieces_on_disk
from p2pdeploy.payload.footprint import DISK_BLOCK_BYTES, footprint_bytes
from p2pdeploy.payload.torrent import piece_spans

HELLO = ServiceName("hello")
MIB = 1 << 20
SMALL_FILES = 300
BOOKS_BYTES = 64 * 1024  # folders of many names, and extents


@pytest.fixture
def built(make_tree) -> Built:
    """One large file, and many that travel in a pack."""
    rng = random.Random(1)
    small = {f"small/{n}": rng.randbytes(rng.randint(1, 9_000)) for n in range(SMALL_FILES)}
    return build(make_tree({"large": rng.randbytes(5 * MIB + 1), **small}), HELLO)


@pytest.fixture
def root(built: Built, tmp_path: Path) -> Path:
    root = tmp_path / "release"
    root.mkdir()
    stage.prepare(root, built.manifest)
    return root


def write_pieces(built: Built, root: Path, numbers: range) -> None:
    spans = piece_spans(built.manifest)
    for number in numbers:
        blob_index, offset, size = spans[number]
        path = stage.blob_path(root, built.manifest, blob_index)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.pwrite(handle, built.sources.pread(blob_index, offset, size), offset)
        os.close(handle)


def test_a_staged_release_takes_what_was_foretold(built: Built, root: Path) -> None:
    write_pieces(built, root, range(len(piece_spans(built.manifest))))
    stage.finish(root, built.manifest)
    taken, foretold = allocated_bytes(root), footprint_bytes(built.manifest)
    packed = sum(e.size_bytes for e in built.manifest.entries if e.path.startswith("small/"))
    assert taken <= foretold
    assert foretold - taken <= SMALL_FILES * 1024 + BOOKS_BYTES
    assert foretold >= built.manifest.size_bytes + packed, "what was packed lies there twice"
    assert left_bytes(root, built.manifest) == foretold - taken


def test_the_room_is_taken_before_the_first_byte(built: Built, root: Path) -> None:
    before = left_bytes(root, built.manifest)
    allocate(root, built.manifest)
    assert before - left_bytes(root, built.manifest) >= built.manifest.size_bytes
    taken = allocated_bytes(root)
    allocate(root, built.manifest)
    assert allocated_bytes(root) == taken, "once"


def test_room_that_was_taken_is_no_data(built: Built, root: Path) -> None:
    """Else what an interrupted fetch left would be read and hashed without end."""
    allocate(root, built.manifest)
    write_pieces(built, root, range(3, 5))
    have = pieces_on_disk(built.manifest, root)
    assert [number for number, there in enumerate(have) if there] == [3, 4]
    for number in range(len(built.manifest.blobs)):
        path = stage.blob_path(root, built.manifest, number)
        data = path.read_bytes()
        assert len(data) < built.manifest.blobs[number].size_bytes


def test_what_was_not_written_is_given_back_and_what_was_stays(built: Built, root: Path) -> None:
    write_pieces(built, root, range(2, 4))
    write_pieces(built, root, range(8, 9))
    written = allocated_bytes(root)
    allocate(root, built.manifest)
    assert allocated_bytes(root) > written + 4 * MIB
    free_unwritten(root, built.manifest)
    assert allocated_bytes(root) <= written + DISK_BLOCK_BYTES * len(built.manifest.blobs)
    have = pieces_on_disk(built.manifest, root)
    assert [number for number, there in enumerate(have) if there] == [2, 3, 8]


def test_a_whole_release_loses_nothing_when_room_is_given_back(built: Built, root: Path) -> None:
    write_pieces(built, root, range(len(piece_spans(built.manifest))))
    free_unwritten(root, built.manifest)
    assert all(pieces_on_disk(built.manifest, root))


def test_nothing_is_given_back_of_what_was_not_begun(built: Built, root: Path) -> None:
    free_unwritten(root, built.manifest)
    assert not any(pieces_on_disk(built.manifest, root))


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_filesystem_that_cannot_is_left_to_the_books(
    built: Built, root: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = left_bytes(root, built.manifest)
    assert allocate(root, built.manifest)
    free_unwritten(root, built.manifest)
    _fail_with(number, monkeypatch)
    assert not allocate(root, built.manifest)
    free_unwritten(root, built.manifest)
    assert left_bytes(root, built.manifest) == before


def test_a_full_disk_is_told(built: Built, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(errno.ENOSPC, monkeypatch)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        allocate(root, built.manifest)


def _fail_with(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Kernel:
        def fallocate(self, *_arguments: object) -> int:
            return -1

    monkeypatch.setattr(allocate_module.ctypes, "CDLL", lambda *_, **__: Kernel())
    monkeypatch.setattr(allocate_module.ctypes, "get_errno", lambda: number)
