"""An outline finds what of a chunk stands in other bytes, and says nothing wrong."""

from __future__ import annotations

import random

import pytest

from p2pdeploy.errors import ProtocolError
from p2pdeploy.manifest import BlobChunks
from p2pdeploy.messages.outline import ChunkPlace, Outline, OutlineReply
from p2pdeploy.payload.chunk_runs import Place
from p2pdeploy.payload.edges import CopiedRun, edges_of
from p2pdeploy.payload.outline import check_outlines, find_parts, outline_of

OLD = random.Random(1).randbytes(80_000)
SLACK = 16 * 1024


def test_all_but_the_parts_around_an_edit_is_found() -> None:
    new = OLD[:30_000] + b"inserted" + OLD[30_000:]
    matches = find_parts(outline_of(new), OLD)
    assert len(matches) == 2, "before and behind"
    assert sum(match.size_bytes for match in matches) > len(OLD) - 8 * 1024
    for offset, found, size in matches:
        assert new[offset : offset + size] == OLD[found : found + size]


def test_nothing_is_found_in_other_bytes() -> None:
    assert find_parts(outline_of(OLD), random.Random(2).randbytes(80_000)) == []


@pytest.mark.parametrize(
    "outlines",
    [
        (),
        (Outline(b"12345678", (99,)),),
        (Outline(b"1234567", (100,)),),
        (Outline(b"12345678", (100,)),) * 2,
    ],
)
def test_outlines_that_do_not_fit_are_refused(outlines: tuple[Outline, ...]) -> None:
    chunk = ChunkPlace(0, 0, 100)
    assert check_outlines([chunk], OutlineReply(outlines=(Outline(b"12345678", (100,)),)))
    with pytest.raises(ProtocolError):
        check_outlines([chunk], OutlineReply(outlines=outlines))


def test_a_changed_chunk_between_found_ones_is_looked_for_from_both_sides() -> None:
    chunks = BlobChunks(b"", (100, 50, 200))
    runs = [
        CopiedRun(0, 100, Place(0, 7, 1_000)),
        CopiedRun(150, 200, Place(1, 8, 90_000)),
    ]
    (edge,) = edges_of(3, chunks, runs)
    assert edge.chunk == ChunkPlace(3, 100, 50)
    assert edge.olds == [
        (Place(0, 7, 1_100), 50 + SLACK),
        (Place(1, 8, 90_000 - 50 - 2 * SLACK), 50 + 2 * SLACK),
    ]


def test_of_many_changed_chunks_the_first_and_the_last_four_are_edges() -> None:
    chunks = BlobChunks(b"", (10, 20, 30, 40, 50, 60, 70, 80))
    runs = [CopiedRun(0, 10, Place(0, 0, 0)), CopiedRun(280, 80, Place(0, 0, 300_000))]
    edges = edges_of(0, chunks, runs)
    assert [edge.chunk.offset_bytes for edge in edges] == [10, 60, 100, 150, 210]
    assert [len(edge.olds) for edge in edges] == [1, 1, 1, 1, 1]
    (old,) = edges[1].olds
    assert old.place.offset_bytes + old.size_bytes == 300_000, "nothing behind is looked through"
    assert old.size_bytes == 40 + 2 * SLACK


def test_nothing_is_looked_for_before_the_beginning_of_a_blob() -> None:
    chunks = BlobChunks(b"", (10, 20, 30))
    (edge,) = edges_of(0, chunks, [CopiedRun(10, 50, Place(0, 0, 5))])
    assert edge.olds == [(Place(0, 0, 0), 5)]
    assert edges_of(0, chunks, [CopiedRun(10, 50, Place(0, 0, 0))]) == []


def test_what_was_added_at_the_ends_of_a_blob_has_one_side() -> None:
    chunks = BlobChunks(b"", (10, 20, 30))
    (front, back) = edges_of(0, chunks, [CopiedRun(10, 20, Place(0, 0, 500))])
    assert (front.chunk, len(front.olds)) == (ChunkPlace(0, 0, 10), 1)
    assert (back.chunk, len(back.olds)) == (ChunkPlace(0, 30, 30), 1)


def test_a_blob_of_which_nothing_or_all_was_found_has_no_edges() -> None:
    chunks = BlobChunks(b"", (10, 20))
    assert edges_of(0, chunks, []) == []
    assert edges_of(0, chunks, [CopiedRun(0, 30, Place(0, 0, 0))]) == []
