"""Honest messages out of their own types, the same in every process.

Hypothesis would do, but what it draws depends on the constants of every module that is loaded.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from functools import cache
from random import Random
from typing import Any

import msgspec
from msgspec import inspect as mi

_ITEMS_MAX = 3
_COUNT = 12
_TRIES = 1_000
_TEXTS = ("", "h1", "lab.web.c0", "x" * 30, "größe", "\x00\n", "0" * 64)
_NUMBERS = (0, 1, 2, 7, 200, 70_000, 2**33, 2**64 - 1, -1, -(2**63))


@cache
def samples_of(kind: Any, *, in_json: bool = False) -> tuple[bytes, ...]:
    """Encoded values of *kind*, the longest first."""
    rng, info = Random(f"samples/{kind}"), mi.type_info(kind)
    form = msgspec.json if in_json else msgspec.msgpack
    found: set[bytes] = set()
    for _ in range(_TRIES):
        data = form.encode(_drawn(info, rng))
        with contextlib.suppress(msgspec.ValidationError):  # breaks a rule between its fields
            form.decode(data, type=kind)
            found.add(data)
        if len(found) == _COUNT:
            break
    return tuple(sorted(found, key=lambda data: (-len(data), data)))


def _drawn(info: mi.Type, rng: Random) -> Any:
    match info:
        case mi.StructType():
            return _struct(info, rng)
        case mi.UnionType():
            return _drawn(rng.choice(info.types), rng)
        case mi.IntType():
            low = info.ge if info.ge is not None else -(2**63) if info.gt is None else info.gt + 1
            high = (
                2**64 - 1 if info.le is None and info.lt is None else info.le or (info.lt or 1) - 1
            )
            return min(max(rng.choice(_NUMBERS), int(low)), int(high))
        case mi.FloatType():
            low = info.ge if info.ge is not None else info.gt if info.gt is not None else -1e9
            return low + rng.random() * ((info.le or info.lt or 1e9) - low)
        case mi.StrType():
            return rng.choice(_TEXTS)[: info.max_length]
        case mi.BytesType():
            return rng.randbytes(info.min_length or min(rng.randrange(70), info.max_length or 70))
        case mi.BoolType():
            return rng.random() < 0.5
        case mi.NoneType():
            return None
        case mi.EnumType():
            return rng.choice(list(info.cls))
        case mi.LiteralType():
            return rng.choice(info.values)
        case mi.DateTimeType():
            return datetime.fromtimestamp(rng.randrange(2**32), UTC)
        case _:
            return _container(info, rng)


def _container(info: mi.Type, rng: Random) -> Any:
    match info:
        case mi.TupleType():
            return tuple(_drawn(item, rng) for item in info.item_types)
        case mi.VarTupleType() | mi.ListType():
            count = rng.randint(info.min_length or 0, max(info.min_length or 0, _ITEMS_MAX))
            return [_drawn(info.item_type, rng) for _ in range(count)]
        case mi.DictType():
            pairs = rng.randint(0, _ITEMS_MAX)
            return {_drawn(info.key_type, rng): _drawn(info.value_type, rng) for _ in range(pairs)}
        case _:
            raise AssertionError(f"no sample for {info}")


def _struct(info: mi.StructType, rng: Random) -> Any:
    """As a mapping or an array, so that rules between fields do not stop it here."""
    values = {field.encode_name: _drawn(field.type, rng) for field in info.fields}
    if info.array_like:
        return [*([info.tag] if info.tag is not None else []), *values.values()]
    return values if info.tag is None else {str(info.tag_field): info.tag, **values}
