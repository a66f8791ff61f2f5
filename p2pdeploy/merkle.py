"""The hash trees of BitTorrent v2 (BEP 52): SHA-256 over blocks of 16 KiB.

One tree per blob.  Its *piece layer* is the row of nodes that each cover one piece; its root
names the blob.  A blob that fits one piece has no layer: its root is that piece's hash, and its
tree is only as high as its blocks need.

Source: https://www.bittorrent.org/beps/bep_0052.html
"""

from __future__ import annotations

import hashlib

__all__ = ["BLOCK_BYTES", "HASH_BYTES", "PieceTree", "layer_root", "piece_hash"]

BLOCK_BYTES = 16 * 1024  # given by BEP 52
HASH_BYTES = 32
_PAD = bytes(HASH_BYTES)  # BEP 52: blocks beyond the end of a file count as a hash of zeros


class PieceTree:
    """The tree of one blob, fed in order.  Not for use by several threads at once.

    Args:
        piece_size_bytes: A power of two, at least :data:`BLOCK_BYTES`.
    """

    def __init__(self, piece_size_bytes: int) -> None:
        assert piece_size_bytes >= BLOCK_BYTES
        assert piece_size_bytes & (piece_size_bytes - 1) == 0
        self._blocks_per_piece = piece_size_bytes // BLOCK_BYTES
        self._blocks: list[bytes] = []  # of the piece under way
        self._pieces: list[bytes] = []
        self._rest = b""  # less than a block

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes.  Fastest when every call but the last has a multiple of a block."""
        view = memoryview(data)
        start = 0
        if self._rest:
            start = BLOCK_BYTES - len(self._rest)
            self._rest += bytes(view[:start])
            if len(self._rest) < BLOCK_BYTES:
                return
            self._add_block(self._rest)
        whole = start + (len(view) - start) // BLOCK_BYTES * BLOCK_BYTES
        for at in range(start, whole, BLOCK_BYTES):
            self._add_block(view[at : at + BLOCK_BYTES])
        self._rest = bytes(view[whole:])

    def finish(self) -> tuple[bytes, bytes]:
        """The root and the piece layer (empty for a blob of one piece).  Call once, at the end."""
        if self._rest:
            self._add_block(self._rest)
        if not self._pieces:
            assert self._blocks, "an empty file has no tree"
            return _root(self._blocks, _PAD), b""
        if self._blocks:
            self._pieces.append(_node(self._blocks, self._blocks_per_piece))
        if len(self._pieces) == 1:
            return self._pieces[0], b""
        empty_piece = _empty_piece(self._blocks_per_piece)
        return _root(self._pieces, empty_piece), b"".join(self._pieces)

    def _add_block(self, block: bytes | memoryview) -> None:
        self._blocks.append(hashlib.sha256(block).digest())
        if len(self._blocks) == self._blocks_per_piece:
            self._pieces.append(_root(self._blocks, _PAD))
            self._blocks = []


def layer_root(piece_layer: bytes, piece_size_bytes: int) -> bytes:
    """The root that belongs to a piece layer of several pieces."""
    pieces = [piece_layer[at : at + HASH_BYTES] for at in range(0, len(piece_layer), HASH_BYTES)]
    return _root(pieces, _empty_piece(piece_size_bytes // BLOCK_BYTES))


def piece_hash(data: bytes | memoryview, *, piece_size_bytes: int, only_piece: bool) -> bytes:
    """The hash that *data*, one whole piece, must have in its blob's piece layer.

    With *only_piece* the blob is just this piece, and the result is the blob's root.
    """
    assert 0 < len(data) <= piece_size_bytes
    view = memoryview(data)
    blocks = [
        hashlib.sha256(view[at : at + BLOCK_BYTES]).digest()
        for at in range(0, len(view), BLOCK_BYTES)
    ]
    if only_piece:
        return _root(blocks, _PAD)
    return _node(blocks, piece_size_bytes // BLOCK_BYTES)


def _root(row: list[bytes], pad: bytes) -> bytes:
    """The root above *row*, which is filled up to a power of two with *pad*."""
    while len(row) > 1:
        row, pad = _row_above(row, pad)
    return row[0]


def _node(blocks: list[bytes], blocks_per_piece: int) -> bytes:
    """The node that covers a whole piece, of which only *blocks* exist."""
    row, pad = blocks, _PAD
    for _ in range(blocks_per_piece.bit_length() - 1):
        row, pad = _row_above(row, pad)
    return row[0]


def _empty_piece(blocks_per_piece: int) -> bytes:
    return _node([_PAD], blocks_per_piece)


def _row_above(row: list[bytes], pad: bytes) -> tuple[list[bytes], bytes]:
    if len(row) % 2:
        row = [*row, pad]
    pairs = range(0, len(row), 2)
    above = [hashlib.sha256(row[at] + row[at + 1]).digest() for at in pairs]
    return above, hashlib.sha256(pad + pad).digest()
