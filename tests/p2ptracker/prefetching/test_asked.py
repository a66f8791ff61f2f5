"""The next PREFETCH of a cell: what it takes over, and what it refuses."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import CellId, Digest, HostName, ServiceName, Version
from p2pdeploy.limits import NUMBER_FOLLOWED_MAX, NUMBER_MAX, PREFETCHES_MAX
from p2pdeploy.messages.orders import Build, Prefetch, Prefetched
from p2ptracker.prefetching.asked import OF_CELL_MAX, asking_for, live, without

CELL, WEB = CellId("lab.web.c0"), ServiceName("web")
NOW = 1_800_000_000.0

ask = partial(asking_for, cell=CELL, service=WEB, others=0, now=NOW)


def wanted(number: int, for_s: float = 60.0, **changes: object) -> Prefetched:
    build = Build(version=Version(str(number)), digest=Digest(f"{number}" * 64))
    return Prefetched(build=build, not_after=NOW + for_s, **changes)  # type: ignore[arg-type]


def test_it_takes_over_what_is_live_and_replaces_the_same_build() -> None:
    first = ask(None, wanted(1))
    both = ask(first, wanted(2, for_s=5.0))
    again = ask(both, wanted(1, for_s=600.0))
    assert again.builds == (wanted(2, for_s=5.0), wanted(1, for_s=600.0))
    later = ask(again, wanted(3), now=NOW + 10)
    assert later.builds == (wanted(1, for_s=600.0), wanted(3)), "what expired is left out"
    assert live(later, NOW + 61) == (wanted(1, for_s=600.0),)


def test_each_is_newer_than_the_last_whatever_the_clock_does() -> None:
    first = ask(None, wanted(1))
    second = ask(first, wanted(2), now=NOW - 3600)
    assert first.prefetch_seq == NOW * 1000, "outdoes one that was forgotten"
    assert second.prefetch_seq == first.prefetch_seq + 1


def test_a_service_and_a_cell_prefetch_so_much_and_no_more() -> None:
    full: Prefetch | None = None
    for number in range(PREFETCHES_MAX):
        full = ask(full, wanted(number))
    for held, others in ((full, 0), (None, OF_CELL_MAX)):
        with pytest.raises(RefusedError) as raised:
            ask(held, wanted(9), others=others)
        assert raised.value.code == "too-many-prefetches"
    ask(full, wanted(0, for_s=600.0))  # longer, but not more


def test_hosts_that_fit_into_no_order_are_refused_before_anything_is_stored() -> None:
    names = tuple(HostName(f"{n:04}".rjust(60, "h")) for n in range(1_000))
    held = ask(None, wanted(1, hosts=names))
    with pytest.raises(RefusedError) as raised:
        ask(held, wanted(2, hosts=names))
    assert raised.value.code == "too-many-hosts"


def test_what_is_over_is_left_out_and_nothing_is_said_when_nothing_is() -> None:
    held = ask(ask(None, wanted(1)), wanted(2))
    ended = without(held, lambda each: each == wanted(1), NOW)
    assert ended is not None
    assert ended.builds == (wanted(2),)
    assert ended.prefetch_seq > held.prefetch_seq
    assert without(ended, lambda each: each == wanted(1), NOW) is None


def test_nothing_follows_a_number_that_leaves_none_behind_it() -> None:
    last = msgspec.structs.replace(ask(None, wanted(1)), prefetch_seq=NUMBER_FOLLOWED_MAX)
    assert ask(last, wanted(2)).prefetch_seq == NUMBER_FOLLOWED_MAX + 1
    stuck = msgspec.structs.replace(last, prefetch_seq=NUMBER_MAX)
    for following in (lambda: ask(stuck, wanted(2)), lambda: without(stuck, lambda _: True, NOW)):
        with pytest.raises(RefusedError) as raised:
            following()
        assert raised.value.code == "number-stuck"
    assert without(stuck, lambda _: False, NOW) is None
