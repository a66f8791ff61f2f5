"""Bytes to messages and frames to payloads: sizes first, and nothing but ProtocolError."""

from __future__ import annotations

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pdeploy.codec import FrameReader, decode, encode, frame
from p2pdeploy.errors import ProtocolError
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.testing.orders import a_word

WORD = a_word("h1", 4, Rank.HEALTHY)


def test_what_was_encoded_decodes_to_the_same() -> None:
    assert decode(encode(WORD), Attestation, bytes_max=1_000) == WORD


def test_the_length_is_checked_before_anything_else() -> None:
    data = encode(WORD)
    assert decode(data, Attestation, bytes_max=len(data)) == WORD
    with pytest.raises(ProtocolError, match="at most"):
        decode(data, Attestation, bytes_max=len(data) - 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode(WORD)[:-1],
        encode(WORD) + b"\x00",
        b"\x91" * 100_000,
        msgspec.msgpack.encode({"type": "att"}),
        msgspec.msgpack.encode([1, 2]),
        b"\xa1\xff",
    ],
    ids=["empty", "cut", "longer", "deep", "fields-missing", "list", "not-utf8"],
)
def test_what_is_not_the_message_is_one_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data, Attestation, bytes_max=1_000_000)


@settings(max_examples=200, deadline=None)
@given(payloads=st.lists(st.binary(max_size=300), max_size=8), cuts=st.lists(st.integers(1, 64)))
def test_frames_come_out_whole_however_the_stream_is_cut(
    payloads: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(frame(payload) for payload in payloads)
    reader, out = FrameReader(), list[bytes]()
    sizes = iter(cuts)
    while stream:
        size = next(sizes, len(stream))
        reader.feed(stream[:size])
        stream = stream[size:]
        out += reader
    assert out == payloads


def test_a_frame_at_the_limit_passes_and_one_byte_more_is_refused() -> None:
    reader = FrameReader(bytes_max=1_000)
    reader.feed(frame(b"x" * 1_000))
    assert list(reader) == [b"x" * 1_000]
    reader.feed(frame(b"x" * 1_001))
    with pytest.raises(ProtocolError):
        list(reader)


def test_a_sender_that_outruns_the_limit_is_refused() -> None:
    reader = FrameReader(bytes_max=1_000)
    with pytest.raises(ProtocolError):
        reader.feed(b"\xc6\x00\x00\x03\xe8" + b"x" * 200_000)


@pytest.mark.parametrize("item", ["text", 1, None, [], {}, [b"x"], {b"x": b"y"}])
def test_a_frame_that_is_not_bytes_is_refused(item: object) -> None:
    reader = FrameReader()
    reader.feed(bytes(msgpack.packb(item) or b""))
    with pytest.raises(ProtocolError):
        list(reader)
