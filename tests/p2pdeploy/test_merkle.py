"""Our trees are BEP 52's, as libtorrent computes them."""

from __future__ import annotations

import random
from pathlib import Path

import libtorrent as lt
import pytest

from p2pdeploy.merkle import BLOCK_BYTES, HASH_BYTES, PieceTree, piece_hash

PIECE = 4 * BLOCK_BYTES
SIZES = [
    *(1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES, PIECE - 1, PIECE),
    *(PIECE + 1, 2 * PIECE, 3 * PIECE, 5 * PIECE + BLOCK_BYTES + 7, 9 * PIECE - 1),
]


def _tree(data: bytes, step: int) -> tuple[bytes, bytes]:
    tree = PieceTree(PIECE)
    for at in range(0, len(data), step):
        tree.feed(data[at : at + step])
    return tree.finish()


def _by_libtorrent(folder: Path, data: bytes) -> tuple[bytes, bytes]:
    (folder / "blob").write_bytes(data)
    storage = lt.create_torrent([lt.create_file_entry("t/blob", len(data))], PIECE)
    (folder / "t").mkdir()
    (folder / "blob").rename(folder / "t/blob")
    lt.set_piece_hashes(storage, str(folder))
    torrent = storage.generate()
    root = torrent[b"info"][b"file tree"][b"blob"][b""][b"pieces root"]
    return root, torrent[b"piece layers"].get(root, b"")


@pytest.mark.parametrize("size_bytes", SIZES)
def test_root_and_layer_are_those_of_libtorrent(size_bytes: int, tmp_path: Path) -> None:
    data = random.Random(size_bytes).randbytes(size_bytes)
    assert _tree(data, PIECE) == _by_libtorrent(tmp_path, data)


@pytest.mark.parametrize("step", [1000, BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 5, 10**6])
def test_how_the_bytes_are_fed_does_not_matter(step: int) -> None:
    data = random.Random(7).randbytes(5 * PIECE + BLOCK_BYTES + 7)
    assert _tree(data, step) == _tree(data, PIECE)


@pytest.mark.parametrize("size_bytes", SIZES)
def test_each_piece_has_its_hash_in_the_layer(size_bytes: int) -> None:
    data = random.Random(size_bytes).randbytes(size_bytes)
    root, layer = _tree(data, PIECE)
    if not layer:
        assert piece_hash(data, piece_size_bytes=PIECE, only_piece=True) == root
        return
    for number, at in enumerate(range(0, size_bytes, PIECE)):
        found = piece_hash(data[at : at + PIECE], piece_size_bytes=PIECE, only_piece=False)
        assert found == layer[number * HASH_BYTES : (number + 1) * HASH_BYTES]
