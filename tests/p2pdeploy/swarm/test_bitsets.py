"""Sets of pieces in all their forms are the same sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.messages.deal import bitmap_of
from p2pdeploy.swarm.bitsets import (
    all_pieces,
    bitmap_from,
    bitset_of_flags,
    bitset_of_pieces,
    flags_of,
)
from p2pdeploy.swarm.holdings import bits_of, bitset_of

flag_lists = st.lists(st.booleans(), max_size=40)


@given(flag_lists)
def test_flags_numbers_and_bitmaps_of_a_set_agree(flags: list[bool]) -> None:
    bitset = bitset_of_flags(flags)
    assert bits_of(bitset) == [piece for piece, flag in enumerate(flags) if flag]
    assert flags_of(bitset, len(flags)) == flags or not flags
    assert bitset_of_pieces(bits_of(bitset)) == bitset
    assert bitmap_from(bitset, len(flags)) == bitmap_of(flags)
    assert bitset_of(bitmap_from(bitset, len(flags)), len(flags)) == bitset


def test_any_number_of_neighbours_is_some() -> None:
    assert bitset_of_flags([0, 1, 2, 0, 255, 256, 48, 49]) == 0b11110110


def test_all_pieces_are_as_many_as_there_are() -> None:
    assert bits_of(all_pieces(11)) == list(range(11))
