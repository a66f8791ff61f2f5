"""Every message out of its own type: hypothesis strategies that follow msgspec's view of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from hypothesis import strategies as st
from msgspec import inspect as mi

from p2pdeploy.ids import CellId
from p2pdeploy.trust.cell_keys import CELL_KEY_BYTES, CellKeys

_ITEMS_MAX = 3  # of a container; shapes matter here, not masses
_RING_KEY = st.binary(min_size=CELL_KEY_BYTES, max_size=CELL_KEY_BYTES)


def _ring(cell: str, first: int, keys: list[bytes]) -> CellKeys:
    numbered = tuple((first + number, key) for number, key in enumerate(keys))
    return CellKeys(cell=CellId(cell), keys=numbered, sending=first)


# Types whose values must also fit each other.
_WHOLE: dict[type, st.SearchStrategy[Any]] = {
    CellKeys: st.builds(
        _ring,
        st.text(max_size=20),
        st.integers(1, 100),
        st.lists(_RING_KEY, min_size=1, max_size=2),
    )
}


def messages(kind: Any) -> st.SearchStrategy[Any]:
    """Valid values of *kind*: a Struct, or a union of tagged ones."""
    return _strategy(mi.type_info(kind))


def _strategy(info: mi.Type) -> st.SearchStrategy[Any]:
    match info:
        case mi.StructType():
            return _WHOLE[info.cls] if info.cls in _WHOLE else _struct(info)
        case mi.UnionType():
            return st.one_of(*(_strategy(one) for one in info.types))
        case mi.IntType():
            low = info.ge if info.ge is not None else -(2**63) if info.gt is None else info.gt + 1
            high = info.le if info.le is not None else 2**64 - 1 if info.lt is None else info.lt - 1
            return st.integers(int(low), int(high))
        case mi.FloatType():
            return _floats(info)
        case mi.StrType(pattern=str(pattern)):
            return st.from_regex(pattern)
        case mi.StrType():
            return st.text(min_size=info.min_length or 0, max_size=min(info.max_length or 12, 12))
        case mi.BytesType():
            return st.binary(min_size=info.min_length or 0, max_size=min(info.max_length or 70, 70))
        case mi.BoolType():
            return st.booleans()
        case mi.NoneType():
            return st.none()
        case mi.EnumType():
            return st.sampled_from(list(info.cls))
        case mi.LiteralType():
            return st.sampled_from(info.values)
        case mi.DateTimeType():
            limits = datetime(2000, 1, 1), datetime(2100, 1, 1)
            return st.datetimes(*limits, timezones=st.just(UTC))
        case _:
            return _container(info)


def _floats(info: mi.FloatType) -> st.SearchStrategy[float]:
    low, high = info.ge if info.ge is not None else info.gt, info.le if info.le else info.lt
    return st.floats(
        low,
        high,
        exclude_min=info.gt is not None,
        exclude_max=info.lt is not None,
        allow_nan=False,
        allow_infinity=False,
    )


def _container(info: mi.Type) -> st.SearchStrategy[Any]:
    match info:
        case mi.TupleType():
            return st.tuples(*(_strategy(item) for item in info.item_types))
        case mi.VarTupleType() | mi.ListType():
            least, most = info.min_length or 0, info.max_length or _ITEMS_MAX
            most = max(least, min(most, _ITEMS_MAX))
            items = st.lists(_strategy(info.item_type), min_size=least, max_size=most)
            return items.map(tuple) if isinstance(info, mi.VarTupleType) else items
        case mi.DictType():
            keys, values = _strategy(info.key_type), _strategy(info.value_type)
            return st.dictionaries(keys, values, max_size=_ITEMS_MAX)
        case _:
            raise AssertionError(f"no strategy for {info}")


def _struct(info: mi.StructType) -> st.SearchStrategy[Any]:
    fields = {field.name: _strategy(field.type) for field in info.fields}
    return st.fixed_dictionaries(fields).map(lambda values: cast(Any, info.cls)(**values))
