from __future__ import annotations

import pytest

from p2pctl.uploading import Chunk, chunks_of, select
from p2pdeploy.errors import ProtocolError
from p2pdeploy.manifest import BlobChunks, ChunkIndex

INDEX = ChunkIndex(
    blobs=(
        BlobChunks(digests=b"a" * 64, sizes_bytes=(10, 20)),
        BlobChunks(digests=b"", sizes_bytes=()),
        BlobChunks(digests=b"c" * 96, sizes_bytes=(1, 2, 3)),
    )
)


def test_chunks_are_numbered_over_all_blobs_with_offsets_in_their_own() -> None:
    assert chunks_of(INDEX) == [
        Chunk(0, 0, 0, 10),
        Chunk(1, 0, 10, 20),
        Chunk(2, 2, 0, 1),
        Chunk(3, 2, 1, 2),
        Chunk(4, 2, 3, 3),
    ]


def test_runs_select_chunks_by_number() -> None:
    found = select(chunks_of(INDEX), [(0, 1), (3, 2)])
    assert [chunk.number for chunk in found] == [0, 3, 4]


@pytest.mark.parametrize("run", [(4, 2), (-1, 2), (0, -1), (9, 1)])
def test_a_registry_that_asks_for_chunks_there_are_not_is_refused(run: tuple[int, int]) -> None:
    with pytest.raises(ProtocolError):
        select(chunks_of(INDEX), [run])
