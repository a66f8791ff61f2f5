"""Bytes to typed messages and back, with every size checked first; and TOML that others wrote.

Wire form: msgpack maps with short field names, one tagged union per channel.
Streams carry frames: each frame is one msgpack ``bin`` object that holds one encoded message.
Unknown fields: ADR 3 (reports ignore them, orders refuse them).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any, TypeVar, cast

import msgpack
import msgspec

from p2pdeploy.errors import ProtocolError
from p2pdeploy.limits import FRAME_BYTES_MAX

__all__ = ["UNDECODABLE", "FrameReader", "decode", "encode", "frame", "load_toml"]

T = TypeVar("T")

UNDECODABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""All that msgspec raises over bytes that are not of the form asked for, msgpack or JSON."""

_KEY_PARTS_MAX = 16  # ours have three; tomllib takes memory by their square, 1.6 GB for 40 KB
_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*"""
_LONG_KEY = re.compile(rf"(?:^|[\[{{,])[ \t]*(?:{_PART}\.[ \t]*){{{_KEY_PARTS_MAX}}}", re.MULTILINE)
_LONG_NUMBER = re.compile("0[xob][0-9A-Fa-f_]{1000}")  # one that Python makes and refuses to show

_encoder = msgspec.msgpack.Encoder()
_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


def encode(message: msgspec.Struct) -> bytes:
    """Encode *message*; the same message always gives the same bytes."""
    return _encoder.encode(message)


def decode(data: bytes, kind: type[T], *, bytes_max: int) -> T:
    """Decode *data* as *kind*, a Struct type or a union of tagged Struct types.

    Raises:
        ProtocolError: longer than *bytes_max*, not msgpack, nested too deep, or not of this
            shape.  Drop the message; nothing was changed.
    """
    if len(data) > bytes_max:
        raise ProtocolError(f"message of {len(data)} bytes, at most {bytes_max} allowed")
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    try:
        return cast(T, decoder.decode(data))
    except UNDECODABLE as error:
        raise ProtocolError(f"undecodable message: {error}") from error


def frame(payload: bytes) -> bytes:
    """Wrap one encoded message for a stream."""
    return cast(bytes, msgpack.packb(payload, use_bin_type=True))


def load_toml(data: bytes) -> dict[str, Any]:
    """Parse TOML; the caller has bounded its length.

    Raises:
        ValueError: not UTF-8 (UnicodeDecodeError), not TOML (tomllib's own, with line and column),
            nested too deep, or a key or a number without end.
    """
    text = data.decode()
    if _LONG_KEY.search(text):
        raise ValueError(f"a key has more than {_KEY_PARTS_MAX} parts")
    if _LONG_NUMBER.search(text):
        raise ValueError("a number has too many digits")
    try:
        return tomllib.loads(text)  # what int() says to thousands of digits is a ValueError too
    except RecursionError as error:
        raise ValueError("nested too deep") from error


class FrameReader:
    """Cut a byte stream into frames.  Feed it bytes, iterate over it for whole payloads.

    A frame above *bytes_max* is refused before more than that and one read of it is buffered.
    """

    def __init__(self, *, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._unpacker = msgpack.Unpacker(
            raw=False,
            max_buffer_size=bytes_max + 64 * 1024,  # one frame, plus one read of the next
            max_bin_len=bytes_max,
            max_str_len=0,
            max_array_len=0,
            max_map_len=0,
            max_ext_len=0,
        )

    def feed(self, data: bytes) -> None:
        """Add bytes as they arrived.

        Raises:
            ProtocolError: the sender outruns the limit; close the stream.
        """
        try:
            self._unpacker.feed(data)
        except msgpack.BufferFull as error:
            raise ProtocolError(f"frame above {self._bytes_max} bytes") from error

    def __iter__(self) -> Iterator[bytes]:
        try:
            for item in self._unpacker:
                if not isinstance(item, bytes):
                    raise ProtocolError("a frame must be one msgpack bin object")
                yield item
        except (ValueError, msgpack.UnpackException) as error:
            raise ProtocolError(f"undecodable frame: {error}") from error
