"""Cut points are a wire format."""

from __future__ import annotations

import hashlib
import random

import blake3
import pytest

from p2pdeploy.manifest import BlobChunks
from p2pdeploy.payload.cut import CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, ChunkCutter

DATA = random.Random(52).randbytes(3_000_000)
GOLDEN = (
    *(73074, 54351, 89248, 69872, 82383, 62573, 69998, 29533, 30290, 87387, 75794, 73655, 42282),
    *(114308, 94668, 97453, 111245, 32677, 73676, 72246, 243725, 107236, 30811, 79528, 53411),
    *(137935, 50298, 61517, 80875, 110525, 29060, 86119, 157464, 88582, 44005, 91723, 66239),
    *(19640, 24594),
)


def cut(data: bytes, window_bytes: int = 1 << 20) -> BlobChunks:
    cutter, carried = ChunkCutter(), b""
    for at in range(0, len(data), window_bytes):
        window = carried + data[at : at + window_bytes]
        cutter.feed(memoryview(window), last=at + window_bytes >= len(data))
        carried = window[len(window) - cutter.carried_bytes :]
    return cutter.finish()


def test_golden_cut_points() -> None:
    """Computed once and confirmed with the library's pure Python implementation."""
    assert hashlib.sha256(DATA).hexdigest()[:16] == "7f6b5f2ee7255ffc", "the vector's own data"
    assert cut(DATA).sizes_bytes == GOLDEN


@pytest.mark.parametrize("window_bytes", [CHUNK_BYTES_MAX, 300_001, 777_777, 4 << 20])
def test_windows_do_not_move_cut_points(window_bytes: int) -> None:
    assert cut(DATA, window_bytes) == cut(DATA)


@pytest.mark.parametrize("data", [bytes(2_000_000), b"x", b"ab" * 500_000])
def test_bytes_that_repeat_are_cut_within_the_limits(data: bytes) -> None:
    chunks = cut(data, 300_000)
    assert sum(chunks.sizes_bytes) == len(data)
    assert all(CHUNK_BYTES_MIN <= size <= CHUNK_BYTES_MAX for size in chunks.sizes_bytes[:-1])


def test_each_chunk_has_its_own_blake3() -> None:
    chunks, at = cut(DATA), 0
    for number, size in enumerate(chunks.sizes_bytes):
        digest = blake3.blake3(DATA[at : at + size]).digest()
        assert chunks.digests[number * 32 : (number + 1) * 32] == digest
        at += size
    assert at == len(DATA)


def test_an_insertion_leaves_most_chunks_as_they_were() -> None:
    before, after = cut(DATA), cut(b"inserted" + DATA)
    old = {before.digests[at : at + 32] for at in range(0, len(before.digests), 32)}
    new = [after.digests[at : at + 32] for at in range(0, len(after.digests), 32)]
    assert sum(digest in old for digest in new) >= len(new) - 2
