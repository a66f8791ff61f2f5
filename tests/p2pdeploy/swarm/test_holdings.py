"""Bitmaps in, counts out."""

from __future__ import annotations

import functools
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.errors import ProtocolError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.deal import bitmap_of
from p2pdeploy.swarm.holdings import Holdings, bitmap_has, bits_of, bitset_of

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


@given(st.sets(st.integers(0, 70)))
def test_the_set_bits_are_found_in_order(bits: set[int]):
    assert bits_of(sum(1 << bit for bit in bits)) == sorted(bits)


HOSTS = [HostName(name) for name in "abcde"]


@given(st.lists(st.tuples(st.sampled_from(HOSTS), st.integers(0, 2**20 - 1)), max_size=40))
def test_counts_equal_a_recount_of_all_bitmaps(steps: list[tuple[HostName, int]]):
    holdings, have = Holdings(), dict.fromkeys(HOSTS, 0)
    for host, bitset in steps:
        before, have[host] = have[host], bitset
        change = holdings.replace(host, bitset)
        assert change.gained == bitset & ~before
        anybodys = functools.reduce(operator.or_, have.values())
        assert change.orphaned == before & ~bitset & ~anybodys
        assert holdings.held == anybodys
        counts = [sum(mine >> k & 1 for mine in have.values()) for k in range(20)]
        assert [holdings.count(k) for k in range(20)] == counts


def test_a_piece_that_two_hosts_reported_stays_planted_when_they_go():
    holdings = Holdings()
    holdings.replace(A, 0b11)
    assert holdings.planted == 0
    holdings.replace(B, 0b10)
    assert holdings.planted == 0b10
    holdings.replace(A, 0)
    holdings.replace(B, 0)
    assert (holdings.held, holdings.planted) == (0, 0b10)


def test_a_host_takes_back_what_it_says_no_more():
    holdings = Holdings()
    holdings.replace(A, 0b11)
    assert not holdings.takes_back(A, 0b111)
    assert holdings.takes_back(A, 0b101)


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_a_piece_is_looked_up_in_the_bitmap_itself(bits: list[bool]):
    bitmap = bitmap_of(bits)
    assert [bitmap_has(bitmap, piece) for piece in range(len(bits))] == bits
