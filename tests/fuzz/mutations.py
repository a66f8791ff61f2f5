"""Hostile bytes out of honest ones.

Half of the changes are blind (bits, cuts, splices); the other half know the form: they take the
value apart, change one thing in it, and write it again, so that the decoder reads on to the change.
Everything follows from the samples and the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any, Literal

import msgspec

Form = Literal["msgpack", "json", "toml", "bencode", "query", "text", "binary"]

_HUGE = b"\xff\xff\xff\xff"  # 2**32 - 1 of whatever the byte before says
_NAMES = (
    *("id", "host", "cell", "service", "type", "seq", "version", "name", "hosts", "message"),
    *("", "\x00", "é", "../../etc/passwd", "a" * 300, "x\ny"),
)
_NUMBERS = (0, 1, -1, 127, 128, 255, 65_536, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, -(2**63))
_VALUES: tuple[Any, ...] = (
    *(None, True, False, *_NUMBERS, 2**64 - 1, 0.5, -0.0, 1e308, -1e308, 5e-324),
    *(b"", b"\xff" * 33, b"x" * 32, [], [[]], {}, {"": None}, *_NAMES),
)

# Pieces that stand for one value, as no encoder of ours would write it.
_RAW: dict[str, tuple[bytes, ...]] = {
    "msgpack": (
        *(bytes([head]) + _HUGE for head in (0xC6, 0xC9, 0xDB, 0xDD, 0xDF)),
        *(
            b"\xc1",
            b"\xa2\xff\xfe",
            b"\xa3\xed\xa0\x80",
            b"\xd4\x05\x00",
            b"\xd6\xff\x00\x00\x00\x00",
        ),
        *(b"\xd7\xff" + b"\xff" * 8, b"\xc7\x0c\xff" + b"\xff" * 12),  # times that are none
        *(b"\xcb\x7f\xf8" + bytes(6), b"\xcb\x7f\xf0" + bytes(6), b"\xca\xff\x80\x00\x00"),
        *(b"\x82\xa1a\x01\xa1a\x02", b"\x81\x01\x02", b"\x81\x90\xc0", b"\x91" * 600 + b"\xc0"),
        *(b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7), b"\xd9\x01a", b"\xdc\x00\x01\xc0"),
    ),
    "json": (
        *(b"1e999", b"-1e999", b"NaN", b"-0", b"1.0", b"9" * 30, b"9" * 5_000, b"1" + b"0" * 400),
        *(b'"\\ud800"', b'"\\u0000"', b'"\xff"', b'"\xed\xa0\x80"', b'"9999-12-31T23:59:60Z"'),
        *(b'{"a":1,"a":2}', b"[" * 600 + b"]" * 600, b'"0000-00-00T00:00:00Z"', b"01", b"[1,]"),
    ),
}
_TOML_VALUES = (
    *(b"9" * 5_000, b"9" * 400, b"0x" + b"f" * 900, b"0x" + b"f" * 9_000, b"0b" + b"1" * 30_000),
    *(b"1e99999", b"nan", b"-inf", b"-0.0", b"2020-99-99", b"1979-05-27T07:32:00Z", b"25:61:61"),
    *(
        b"-1",
        b"0",
        b"1_0",
        b"0.5",
        b"true",
        b'""',
        b'"\\ud800"',
        b'"\\u0000"',
        b'"../.."',
        b'"\xff"',
    ),
    *(b"[]", b"[[]]", b"{}", b"{a=1}", b"{a={}}", b"[1,'a']", b"[" * 600, b"{a=" * 400, b'"$NO"'),
    *(
        b'"' + b"x" * 70_000 + b'"',
        b"[" + b"'a'," * 9_000 + b"]",
        b'"\\n"',
        b"'" + b"$" * 500 + b"'",
    ),
)

# Pieces that mean something to a reader of the form, put anywhere.
_TOKENS: dict[str, tuple[bytes, ...]] = {
    "msgpack": _RAW["msgpack"],
    "json": (*_RAW["json"], b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\xef\xbb\xbf"),
    "toml": (
        *(b"\n", b"=", b"[", b"]", b"[[", b"]]", b"{", b"}", b",", b".", b'"""', b"'''", b"#"),
        *(b"\n[a]\n", b"\n[[a]]\n", b"a.b.c=1\n", b"\\U", b"\xff", b"\x00", b"\xef\xbb\xbf", b"\r"),
        *_TOML_VALUES,
    ),
    "bencode": (
        *(b"i0e", b"i-0e", b"i" + b"9" * 21 + b"e", b"l", b"d", b"e", b"0:", b"99999999999:"),
        *(b"-1:", b"1:a", b"l" * 120, b"d0:" * 120, b"i" + b"9" * 5_000 + b"e", b"01:a", b":"),
    ),
    "query": (
        *(b"&", b"=", b"%", b"%ff", b"%00", b"&port=", b"&port=0", b"&left=-1", b"&a=b" * 40),
        *(b"9" * 5_000, b"-", b"&numwant=-9", b"&event=stopped", b"+", b"&info_hash=" * 70),
    ),
    "text": (
        *(b"/", b"//", b"..", b"%", b"\n", b"\x00", b"\xff", b"=", b"-", b"_", b".", b" ", b"#"),
        *("é".encode(), b"9" * 5_000, b"\xe2\x80\xae", b"spiffe://", b"-----END", b"=" * 9),
    ),
    "binary": (
        b"\x00",
        b"\xff" * 4,
        b"\x80\x00",
        b"\x30\x84" + _HUGE,
        b"\x02\x01\x05",
        b"\x05\x00",
    ),
}


def mutated(samples: Sequence[bytes], form: Form, rng: Random) -> bytes:
    """One hostile input."""
    data = rng.choice(samples)
    roll = rng.random()
    if roll < 0.03:
        return rng.randbytes(rng.randrange(200))
    if roll < 0.5 and form in _RAW:
        data = _rewritten(data, form, rng)
        if rng.random() < 0.8:
            return data
    if roll < 0.5 and form == "toml":
        return _with_value(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_BLIND)(data, samples, form, rng)
    return data


# --- blind changes ------------------------------------------------------------------------------


def _flip(data: bytes, _samples: Sequence[bytes], _form: Form, rng: Random) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _cut(data: bytes, _samples: Sequence[bytes], _form: Form, rng: Random) -> bytes:
    start, end = _span(data, rng)
    return data[:start] if rng.random() < 0.5 else data[:start] + data[end:]


def _insert(data: bytes, _samples: Sequence[bytes], form: Form, rng: Random) -> bytes:
    start, end = _span(data, rng)
    token = rng.choice(_TOKENS[form]) if rng.random() < 0.8 else rng.randbytes(rng.randint(1, 9))
    return data[:start] + token + data[rng.choice((start, end, start + len(token))) :]


def _repeat(data: bytes, _samples: Sequence[bytes], _form: Form, rng: Random) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + data[start:end] * rng.choice((2, 2, 3, 30)) + data[end:]


def _splice(data: bytes, samples: Sequence[bytes], _form: Form, rng: Random) -> bytes:
    other = rng.choice(samples)
    return data[: _span(data, rng)[0]] + other[_span(other, rng)[0] :]


def _extreme(data: bytes, _samples: Sequence[bytes], _form: Form, rng: Random) -> bytes:
    at, size = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 8))
    fill = rng.choice((b"\x00", b"\xff", b"\x7f", b"\x80"))
    return data[:at] + fill * size + data[at + size :]


def _span(data: bytes, rng: Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.randint(1, 40))


_BLIND: tuple[Callable[[bytes, Sequence[bytes], Form, Random], bytes], ...] = (
    *(_flip, _cut, _insert, _repeat, _splice, _extreme),
)

# --- changes that know the form -----------------------------------------------------------------


@cache
def _tree_of(data: bytes, form: Form) -> Any:
    return (msgspec.msgpack if form == "msgpack" else msgspec.json).decode(data)


def _rewritten(data: bytes, form: Form, rng: Random) -> bytes:
    """*data* with one value in it changed, however deep it stands."""
    return _written(_changed(_tree_of(data, form), form, rng), form)


def _with_value(data: bytes, rng: Random) -> bytes:
    """A TOML file with one value in it replaced, to the end of its line."""
    lines = data.split(b"\n")
    at = rng.choice([number for number, line in enumerate(lines) if b"=" in line])
    lines[at] = lines[at].partition(b"=")[0] + b"= " + rng.choice(_TOML_VALUES)
    return b"\n".join(lines)


def _written(value: Any, form: Form) -> bytes:
    return msgspec.msgpack.encode(value) if form == "msgpack" else msgspec.json.encode(value)


def _changed(value: Any, form: Form, rng: Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        return _changed_map(value, form, rng)
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        match rng.randrange(6):
            case 0:
                return [*value[:at], *value[at + 1 :]]
            case 1:
                return [*value, *value[at:]]
            case _:
                return [*value[:at], _changed(value[at], form, rng), *value[at + 1 :]]
    if isinstance(value, bytes) and rng.random() < 0.7:  # what is sealed inside, perhaps
        return rng.choice((_flip, _cut, _repeat))(value, (value,), form, rng)
    if isinstance(value, int | float) and abs(value) < 2**60 and rng.random() < 0.3:
        return value + rng.choice((-1, 1, 1_000))
    return rng.choice(_VALUES) if rng.random() < 0.6 else msgspec.Raw(rng.choice(_RAW[form]))


def _changed_map(value: dict[str, Any], form: Form, rng: Random) -> Any:
    key = rng.choice(tuple(value))
    match rng.randrange(8):
        case 0:
            return {name: inner for name, inner in value.items() if name != key}
        case 1:
            return {**value, rng.choice(_NAMES): rng.choice(_VALUES)}
        case 2:
            return _with_key_twice(value, key, form, rng)
        case _:
            return {**value, key: _changed(value[key], form, rng)}


def _with_key_twice(value: dict[str, Any], key: str, form: Form, rng: Random) -> msgspec.Raw:
    pairs = [*value.items(), (key, rng.choice(_VALUES))]
    if form == "msgpack":
        head = b"\xde" + len(pairs).to_bytes(2, "big")
        return msgspec.Raw(head + b"".join(_written(part, form) for pair in pairs for part in pair))
    said = (_written(name, form) + b":" + _written(inner, form) for name, inner in pairs)
    return msgspec.Raw(b"{" + b",".join(said) + b"}")
