"""Bitmaps in, counts out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.errors import ProtocolError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.deal import bitmap_of
from p2pdeploy.swarm.holdings import Holdings, bitset_of

A, B = HostName("a"), HostName("b")


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_a_bitmap_survives_the_wire_and_bit_k_is_piece_k(bits: list[bool]):
    bitmap = bitmap_of(bits)
    assert [bool(bitset_of(bitmap, len(bits)) >> k & 1) for k in range(len(bits))] == bits


def test_first_piece_is_the_highest_bit_of_the_first_byte():
    assert bitmap_of([True] + [False] * 8 + [True]) == b"\x80\x40"


@pytest.mark.parametrize("bitmap", [b"", b"\x00", b"\x00\x00\x00", b"\x00\x20"])
def test_bitmap_of_wrong_length_or_with_spare_bits_is_refused(bitmap: bytes):
    with pytest.raises(ProtocolError):
        bitset_of(bitmap, 10)


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.integers(0, 2**20 - 1)), max_size=20))
def test_counts_equal_a_recount_of_all_bitmaps(steps: list[tuple[HostName, int]]):
    holdings, have = Holdings(20), {A: 0, B: 0}
    for host, bitset in steps:
        before, have[host] = have[host], bitset
        change = holdings.replace(host, bitset)
        assert change.gained == [k for k in range(20) if bitset & ~before & 1 << k]
        gone = [k for k in range(20) if before & ~bitset & 1 << k]
        assert change.orphaned == [k for k in gone if not (have[A] | have[B]) >> k & 1]
    counts = [(have[A] >> k & 1) + (have[B] >> k & 1) for k in range(20)]
    assert [holdings.count(k) for k in range(20)] == counts
    assert holdings.held_count == sum(1 for count in counts if count)


def test_a_piece_that_two_hosts_reported_stays_planted_when_they_go():
    holdings = Holdings(4)
    holdings.replace(A, 0b11)
    assert holdings.planted_count == 0
    holdings.replace(B, 0b10)
    assert holdings.planted_count == 1
    holdings.replace(A, 0)
    holdings.replace(B, 0)
    assert [holdings.is_dealable(k) for k in range(4)] == [True, False, True, True]
