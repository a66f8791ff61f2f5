"""Bencoding is strict and total."""

from __future__ import annotations

import libtorrent as lt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy import bencode
from p2pdeploy.errors import ProtocolError

values = st.recursive(
    st.integers(1 - 2**63, 2**63 - 1) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=6), inner),
    max_leaves=12,
)


@given(values)
def test_decoding_gives_back_what_was_encoded(value: bencode.Bencoded) -> None:
    assert bencode.decode(bencode.encode(value), bytes_max=1 << 20) == value


@given(values)
def test_libtorrent_reads_it_the_same_way(value: bencode.Bencoded) -> None:
    assert lt.bdecode(bencode.encode(value)) == value


@given(st.binary(max_size=40) | st.text("deil0123456789:-ab", max_size=30).map(str.encode))
def test_any_bytes_are_refused_or_have_exactly_this_spelling(data: bytes) -> None:
    try:
        value = bencode.decode(data, bytes_max=1000)
    except ProtocolError:
        return
    assert bencode.encode(value) == data


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"i01e", b"i-0e", b"ie", b"5:abc", b"-1:a", b"d1:b0:1:a0:e", b"d1:a0:1:a0:e"),
        *(b"i1ei2e", b"l" * 200 + b"e" * 200, b"i" + b"9" * 5000 + b"e", b"d1:a", b"di1e0:e"),
        *(b"i 1e", b"i1_0e"),
    ],
)
def test_a_malformed_value_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        bencode.decode(data, bytes_max=10_000)


def test_a_value_above_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProtocolError, match="at most 3 allowed"):
        bencode.decode(b"4:abcd", bytes_max=3)


def test_text_is_written_as_utf8_and_keys_in_byte_order() -> None:
    assert bencode.encode({"b": 1, "a-": ["é"], "a": b""}) == b"d1:a0:2:a-l2:\xc3\xa9e1:bi1ee"
