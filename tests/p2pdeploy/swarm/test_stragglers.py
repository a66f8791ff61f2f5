"""Who is behind the others, and the one cause that is told."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.ids import HostName
from p2pdeploy.messages.swarm import FetchProgress, SourceBytes
from p2pdeploy.swarm.stragglers import HostStanding, counts_by_cause, stragglers_of

MB = 1_000_000
GOING_ON = FetchProgress(
    have_bytes=80 * MB,
    received=SourceBytes(rack=80 * MB),
    lacking_pieces=20,
    offered_pieces=20,
    peers=8,
    peers_willing=8,
    began_ago_s=40.0,
)
SLOW = msgspec.structs.replace(GOING_ON, have_bytes=8 * MB, received=SourceBytes(rack=8 * MB))


def standing(name: str, coverage: float, **changes: object) -> HostStanding:
    fields: dict[str, object] = {
        "host": HostName(name),
        "coverage": coverage,
        "complete": coverage >= 1,
        "alive": True,
        "progress": GOING_ON,
        "heard_ago_s": 1.0,
        **changes,
    }
    return HostStanding(**fields)  # pyright: ignore[reportArgumentType] test data


OTHERS = [standing(f"h{number}", 0.8) for number in range(1, 6)]


def test_nobody_is_behind_while_all_go_on_alike() -> None:
    assert stragglers_of([]) == []
    assert stragglers_of([standing(f"h{n}", 0.5 + n / 100) for n in range(9)]) == []


def test_at_the_end_whoever_is_not_done_is_behind_be_it_by_a_piece() -> None:
    done = [standing(f"h{number}", 1.0) for number in range(4)]
    found = stragglers_of([*done, standing("late", 0.999, progress=SLOW)])
    assert [straggler.host for straggler in found] == ["late"]


def test_the_worst_comes_first() -> None:
    found = stragglers_of([*OTHERS, standing("b", 0.3), standing("a", 0.3), standing("c", 0.1)])
    assert [straggler.host for straggler in found] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("changes", "cause", "words"),
    [
        ({"reason_code": "disk-full"}, "disk", "is full"),
        ({"progress": msgspec.structs.replace(SLOW, store_s=2.5)}, "disk", "2.5 s"),
        ({"progress": msgspec.structs.replace(SLOW, peers_disk_bound=5)}, "disk", "5 of 8"),
        ({"alive": False}, "control", "not reachable"),
        ({"progress": None, "heard_ago_s": None}, "control", "not begun"),
        ({"heard_ago_s": 60.0}, "control", "60 s"),
        ({"progress": msgspec.structs.replace(SLOW, offered_pieces=0)}, "source", "20 pieces"),
        ({"progress": msgspec.structs.replace(SLOW, peers=0)}, "source", "nobody"),
        ({"progress": msgspec.structs.replace(SLOW, peers_willing=0)}, "source", "none of its 8"),
        ({"progress": SLOW}, "link", "1.6 Mbit/s, where others have 16"),
        ({"progress": msgspec.structs.replace(SLOW, began_ago_s=4.0)}, "control", "4 s ago"),
    ],
)
def test_each_cause_is_told_by_what_was_measured(
    changes: dict[str, object], cause: str, words: str
) -> None:
    (found,) = stragglers_of([*OTHERS, standing("late", 0.1, **changes)])
    assert (found.host, found.cause) == ("late", cause)
    assert words in found.message


def test_every_cause_is_counted_also_those_without_any() -> None:
    found = stragglers_of([*OTHERS, standing("late", 0.1, progress=SLOW)])
    assert counts_by_cause(found) == {"disk": 0, "link": 1, "source": 0, "control": 0}
