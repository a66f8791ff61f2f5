"""Bencoding (BEP 3): what .torrent files and announce answers are written in.

Strict both ways: one value has exactly one spelling, so decoding and encoding again gives the
same bytes.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from p2pdeploy.errors import ProtocolError

__all__ = ["Bencodable", "Bencoded", "decode", "encode"]

Bencodable: TypeAlias = (
    int
    | bytes
    | str
    | Sequence["Bencodable"]
    | Mapping[str, "Bencodable"]
    | Mapping[bytes, "Bencodable"]
)
"""What :func:`encode` takes; text is written as UTF-8."""
Bencoded: TypeAlias = "int | bytes | list[Bencoded] | dict[bytes, Bencoded]"
"""What :func:`decode` gives."""

DEPTH_MAX = 100  # libtorrent's own limit; below Python's recursion limit
_INTEGER_DIGITS_MAX = 20  # 64 bits and a sign; longer numbers would cost quadratic time


def encode(value: Bencodable) -> bytes:
    """Encode *value*; keys of dictionaries are put in the order of their raw bytes."""
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def _write(value: Bencodable, parts: list[bytes]) -> None:
    if isinstance(value, int):
        parts.append(b"i%de" % value)
    elif isinstance(value, (bytes, str)):
        raw = value.encode() if isinstance(value, str) else value
        parts += (b"%d:" % len(raw), raw)
    elif isinstance(value, Mapping):
        raw_keys = {k.encode() if isinstance(k, str) else k: v for k, v in value.items()}
        parts.append(b"d")
        for key in sorted(raw_keys):
            _write(key, parts)
            _write(raw_keys[key], parts)
        parts.append(b"e")
    else:
        parts.append(b"l")
        for item in value:
            _write(item, parts)
        parts.append(b"e")


def decode(data: bytes, *, bytes_max: int) -> Bencoded:
    """Decode *data*, the whole of it.

    Raises:
        ProtocolError: longer than *bytes_max*, nested too deep, cut short, followed by more
            bytes, or spelled otherwise than BEP 3 says.  Drop it.
    """
    if len(data) > bytes_max:
        raise ProtocolError(f"bencoded value of {len(data)} bytes, at most {bytes_max} allowed")
    try:
        value, end = _read(data, 0, 0)
    except (IndexError, ValueError) as error:
        raise ProtocolError("malformed bencoded value") from error
    if end != len(data):
        raise ProtocolError("bencoded value is followed by more bytes")
    return value


def _read(data: bytes, at: int, depth: int) -> tuple[Bencoded, int]:
    if depth > DEPTH_MAX:
        raise ValueError("nested too deep")
    head = data[at : at + 1]
    if head == b"i":
        end = data.index(b"e", at)
        return _integer(data[at + 1 : end]), end + 1
    if head == b"l":
        items: list[Bencoded] = []
        at += 1
        while data[at] != ord("e"):
            item, at = _read(data, at, depth + 1)
            items.append(item)
        return items, at + 1
    if head == b"d":
        return _read_dictionary(data, at + 1, depth + 1)
    return _read_bytes(data, at)


def _read_dictionary(data: bytes, at: int, depth: int) -> tuple[dict[bytes, Bencoded], int]:
    found: dict[bytes, Bencoded] = {}
    last: bytes | None = None
    while data[at] != ord("e"):
        key, at = _read_bytes(data, at)
        if last is not None and key <= last:
            raise ValueError("keys out of order")
        found[key], at = _read(data, at, depth)
        last = key
    return found, at + 1


def _read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    colon = data.index(b":", at, at + _INTEGER_DIGITS_MAX + 1)
    size = _integer(data[at:colon])
    end = colon + 1 + size
    if size < 0 or end > len(data):
        raise ValueError("string cut short")
    return data[colon + 1 : end], end


def _integer(text: bytes) -> int:
    if len(text) > _INTEGER_DIGITS_MAX:
        raise ValueError("number too long")
    value = int(text)
    if b"%d" % value != text:
        raise ValueError("number in another spelling")
    return value
