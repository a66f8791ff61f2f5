"""Small inputs that ask for much: nesting without end, sizes that never come, masses of nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from tests.fuzz.mutations import Form

DEPTH = 100_000
MANY = 20_000
_HUGE = b"\xff\xff\xff\xff"

_MSGPACK = {
    "arrays-in-arrays": b"\x91" * DEPTH,
    "maps-in-maps": b"\x81\xa1a" * DEPTH,
    "arrays-to-the-end": b"\x91" * DEPTH + b"\xc0",
    "bin-of-4-gib": b"\xc6" + _HUGE,
    "str-of-4-gib": b"\xdb" + _HUGE,
    "ext-of-4-gib": b"\xc9" + _HUGE + b"\x05",
    "array-of-4-billion": b"\xdd" + _HUGE,
    "map-of-4-billion": b"\xdf" + _HUGE,
    "array-of-4-billion-begun": b"\xdd" + _HUGE + b"\x00" * MANY,
    "many-zeros": b"\xdd" + MANY.to_bytes(4, "big") + b"\x00" * MANY,
    "many-empty-texts": b"\xdd" + MANY.to_bytes(4, "big") + b"\xa0" * MANY,
    "many-empty-maps": b"\xdd" + MANY.to_bytes(4, "big") + b"\x80" * MANY,
    "one-key-many-times": b"\xdf" + MANY.to_bytes(4, "big") + b"\xa0\x00" * MANY,
    "many-keys": b"\xdf"
    + MANY.to_bytes(4, "big")
    + b"".join(b"\xa5%05d\x00" % n for n in range(MANY)),
}
_JSON = {
    "arrays-in-arrays": b"[" * DEPTH,
    "objects-in-objects": b'{"a":' * DEPTH,
    "arrays-to-the-end": b"[" * DEPTH + b"]" * DEPTH,
    "many-digits": b"9" * DEPTH,
    "many-digits-of-a-fraction": b"0." + b"9" * DEPTH,
    "many-zeros": b"[" + b"0," * MANY + b"0]",
    "many-empty-objects": b"[" + b"{}," * MANY + b"{}]",
    "many-keys": b"{" + b",".join(b'"%d":0' % n for n in range(MANY)) + b"}",
    "one-key-many-times": b"{" + b'"a":0,' * MANY + b'"a":0}',
    "many-escapes": b'"' + b"\\u0041" * MANY + b'"',
}
_TOML = {
    "arrays-in-arrays": b"a=" + b"[" * DEPTH,
    "tables-in-tables": b"a=" + b"{a=" * DEPTH,
    "long-dotted-key": b"a" + b".a" * 20_000 + b"=1",
    "long-table-name": b"[a" + b".a" * 20_000 + b"]",
    "many-digits": b"a=" + b"9" * DEPTH,
    "many-digits-below-every-limit": b"a=" + b"9" * 60_000,
    "many-keys": b"".join(b"k%d=0\n" % n for n in range(6_000)),
    "many-tables": b"".join(b"[t%d]\n" % n for n in range(6_000)),
    "many-empty-arrays": b"a=[" + b"[]," * 20_000 + b"]",
    "many-quotes": b'a="""' + b'""\\"' * 10_000,
    "many-blanks": b"a=" + b" " * 60_000,
}
_BENCODE = {
    "lists-in-lists": b"l" * DEPTH,
    "dictionaries-in-dictionaries": b"d0:" * DEPTH,
    "lists-to-the-end": b"l" * DEPTH + b"e" * DEPTH,
    "string-of-many-bytes": b"99999999999999999999:",
    "many-digits": b"i" + b"9" * DEPTH + b"e",
    "many-empty-lists": b"l" + b"le" * MANY + b"e",
    "many-empty-strings": b"l" + b"0:" * MANY + b"e",
}
_TEXT = {
    "one-letter": b"a" * DEPTH,
    "slashes": b"/" * DEPTH,
    "digits": b"9" * DEPTH,
    "percent-signs": b"%" * DEPTH,
    "lines": b"a\n" * MANY,
    "fields": b"a=b&" * MANY,
    "one-number": b"&port=" + b"9" * DEPTH,
    "base64": b"p2pjoin1." + b"A" * DEPTH,
}
_BINARY = {
    "zeros": bytes(DEPTH),
    "ones": b"\xff" * DEPTH,
    "der-in-der": b"\x30\x80" * MANY,
    "der-of-4-gib": b"\x30\x84" + _HUGE + bytes(100),
    "bins-without-a-body": b"\xc6" + _HUGE,
    "empty-bins": b"\xc4\x00" * MANY,
    "arrays-in-arrays": b"\x91" * DEPTH,
}
_WHOLE: dict[Form, dict[str, bytes]] = {
    "msgpack": _MSGPACK,
    "json": _JSON,
    "toml": _TOML,
    "bencode": _BENCODE,
    "query": _TEXT,
    "text": _TEXT,
    "binary": _BINARY,
}


def bombs_for(samples: Sequence[bytes], form: Form) -> Iterator[tuple[str, bytes]]:
    """Each bomb by itself, and in the place of each value of the first sample's outer level."""
    for name, bomb in _WHOLE[form].items():
        yield name, bomb
        if name.startswith("many"):  # an unknown field is skipped, a known one is of another type
            continue
        if form == "msgpack":
            sample = msgspec.msgpack.decode(samples[0])
            yield from (
                (f"{name} as {where}", msgspec.msgpack.encode(value))
                for where, value in _with_inside(sample, bomb)
            )
        elif form == "json":
            sample = msgspec.json.decode(samples[0])
            yield from (
                (f"{name} as {where}", msgspec.json.encode(value))
                for where, value in _with_inside(sample, bomb)
            )
        elif form in ("binary", "query"):
            yield f"{name} behind a sample", samples[0] + bomb


def _with_inside(sample: Any, bomb: bytes) -> Iterator[tuple[object, Any]]:
    raw = msgspec.Raw(bomb)
    if isinstance(sample, dict):
        yield from ((key, {**sample, key: raw}) for key in sample)
        yield "an unknown field", {**sample, "unknown": raw}
    elif isinstance(sample, list):
        for at in range(len(sample)):
            yield at, [*sample[:at], raw, *sample[at + 1 :]]
        yield "one too many", [*sample, raw]
