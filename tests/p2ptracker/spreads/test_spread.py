"""One rollout's release on its hosts: figures against the limit, and the curve."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from p2pdeploy.codec import decode, encode
from p2pdeploy.ids import CellId, Digest, HostName, RolloutId, ServiceName, Version
from p2pdeploy.messages.swarm import BYTES_MAX, SOURCES, FetchProgress, SourceBytes
from p2ptracker.spreads.recorder import RECORD_BYTES_MAX
from p2ptracker.spreads.spread import RECEIVED_FACTOR_MAX, Spread
from p2ptracker.spreads.terms import HostFacts, Spreading, SpreadRecord

MB = 1_000_000
SIZE, PIECE, RATE = 64 * MB, MB // 16, 2 * MB
CELL, BEGAN = CellId("lab.web.c0"), 1_700_000_000.0
NAMES = [HostName(f"h{number}") for number in range(1, 5)]


def spreading(*staged: str, down: str = "") -> Spreading:
    return Spreading(
        rollout=RolloutId("hello-1"),
        service=ServiceName("hello"),
        version=Version("1"),
        digest=Digest("aa" * 32),
        created_at=BEGAN,
        hosts={
            name: HostFacts(cell=CELL, staged=name in staged, alive=name != down) for name in NAMES
        },
    )


def begin(record: SpreadRecord | None = None) -> Spread:
    return Spread(
        spreading(), began_at=BEGAN, size_bytes=SIZE, piece_size_bytes=PIECE, record=record
    )


def progress(share: float, ago_s: float, *, ended_ago_s: float | None = None) -> FetchProgress:
    have = int(SIZE * share)
    return FetchProgress(
        have_bytes=have,
        received=SourceBytes(origin=have // 4, rack=have // 2, cell=have - have // 4 - have // 2),
        down_peak_bytes_per_s=RATE,
        up_peak_bytes_per_s=RATE,
        lacking_pieces=100,
        offered_pieces=100,
        peers=3,
        peers_willing=3,
        began_ago_s=ago_s,
        ended_ago_s=ended_ago_s,
    )


def run(spread: Spread, seconds: int, took_s: dict[HostName, float], since: int = 1) -> None:
    """Every host fetches evenly from the first second on, speaks once a second, and is looked at.

    Args:
        spread: Hears all of it.
        seconds: Until when after the beginning.
        took_s: When each host is complete.
        since: The first second.
    """
    for second in range(since, seconds + 1):
        for name, end_s in took_s.items():
            over_s = second - end_s
            word = progress(min(1.0, second / end_s), second)
            if over_s >= 0:
                word = progress(1.0, second, ended_ago_s=over_s)
            spread.hear(CELL, name, word, BEGAN + second)
        spread.look(spreading(), BEGAN + second)


ALIKE = dict.fromkeys(NAMES, 36.0)


def test_a_whole_run_has_its_multiples_of_the_limit() -> None:
    spread = begin()
    run(spread, 40, {**ALIKE, NAMES[3]: 38.0})
    swarm = spread.swarm(BEGAN + 40)
    # each host gets a quarter from the origin: it gave 4/36 of a quarter of the payload a second
    assert swarm.limit_s == pytest.approx(36 * (1 + 2 / 1024), rel=0.03)
    assert (swarm.p50_s, swarm.last_s, swarm.hosts_complete) == (36, 38, 4)
    assert swarm.last_x == pytest.approx(38 / 36, rel=0.03)
    assert swarm.so_far_x is None
    assert swarm.received == SourceBytes(origin=SIZE, rack=2 * SIZE, cell=SIZE)
    assert (swarm.coverage, swarm.stragglers) == (1.0, [])
    assert spread.is_complete


def test_the_curve_is_what_happened_and_not_when_it_was_heard() -> None:
    spread = begin()
    for second in (9, 18, 27, 36):  # hosts that speak every nine seconds only
        for name in NAMES:
            ended = 0.0 if second == 36 else None
            word = progress(second / 36, second, ended_ago_s=ended)
            spread.hear(CELL, name, word, BEGAN + second)
        spread.look(spreading(), BEGAN + second)
    points = spread.record(BEGAN + 37).view.points
    assert [point.at_s for point in points] == [float(second) for second in range(37)]
    for point in points:
        assert point.coverage == pytest.approx(point.at_s / 36, abs=0.001)
        assert point.least == pytest.approx(point.p50, abs=0.001)
    assert points[-1].least == 1


def test_on_the_way_there_is_a_multiple_so_far_and_whoever_is_behind() -> None:
    spread = begin()
    run(spread, 18, {**ALIKE, NAMES[1]: 360.0})
    swarm = spread.swarm(BEGAN + 18)
    assert swarm.coverage == pytest.approx((3 * 0.5 + 0.05) / 4, abs=0.001)
    assert swarm.so_far_x is not None
    assert swarm.limit_s is not None
    assert swarm.so_far_x == pytest.approx(18 / (swarm.limit_s * swarm.coverage), rel=0.01)
    assert [(s.host, s.cause) for s in swarm.stragglers] == [(NAMES[1], "link")]
    assert (swarm.p50_x, swarm.last_x) == (None, None)


def test_without_a_measured_rate_there_is_no_limit() -> None:
    spread = begin()
    assert spread.swarm(BEGAN).limit_s is None
    spread.hear(CELL, NAMES[0], progress(1.0, 1.0, ended_ago_s=0.0), BEGAN + 1)
    assert spread.swarm(BEGAN + 1).limit_s is None


def test_a_host_that_had_the_release_is_complete_without_a_word() -> None:
    spread = begin()
    run(spread, 36, dict.fromkeys(NAMES[1:], 36.0))
    spread.look(spreading(NAMES[0]), BEGAN + 37)
    swarm = spread.swarm(BEGAN + 37)
    assert (swarm.hosts_complete, swarm.received.local) == (4, SIZE)
    assert spread.is_complete


def test_a_daemon_that_was_restarted_takes_nothing_back() -> None:
    spread = begin()
    run(spread, 20, ALIKE)
    before = spread.swarm(BEGAN + 20)
    begun_anew = progress(0.0, 0.0)
    spread.hear(CELL, NAMES[0], begun_anew, BEGAN + 21)
    assert spread.swarm(BEGAN + 20) == before


def test_strangers_to_the_rollout_are_not_heard() -> None:
    spread = begin()
    spread.hear(CELL, HostName("nobody"), progress(1.0, 1.0, ended_ago_s=0.0), BEGAN + 1)
    spread.hear(CellId("lab.db.c0"), NAMES[0], progress(1.0, 1.0, ended_ago_s=0.0), BEGAN + 1)
    assert spread.swarm(BEGAN + 1).hosts_complete == 0


def test_a_claim_of_more_than_the_release_is_not_more_than_all() -> None:
    spread = begin()
    spread.hear(CELL, NAMES[0], progress(5.0, 1.0), BEGAN + 1)
    assert spread.swarm(BEGAN + 1).coverage == 0.25


def test_figures_that_no_host_can_have_break_no_sum() -> None:
    spread = begin()
    mad = msgspec.structs.replace(
        progress(1.0, 1.0), received=SourceBytes(**dict.fromkeys(SOURCES, BYTES_MAX))
    )
    for name in NAMES:
        spread.hear(CELL, name, mad, BEGAN + 1)
    record = spread.record(BEGAN + 1)
    assert decode(encode(record), SpreadRecord, bytes_max=RECORD_BYTES_MAX) == record
    assert spread.swarm(BEGAN + 1).received.origin <= len(NAMES) * RECEIVED_FACTOR_MAX * SIZE
    assert SourceBytes(cell=BYTES_MAX) + SourceBytes(cell=1) == SourceBytes(cell=BYTES_MAX)


def test_a_restarted_control_plane_goes_on_with_curve_and_figures() -> None:
    spread = begin()
    run(spread, 30, ALIKE)
    record = decode(encode(spread.record(BEGAN + 30)), SpreadRecord, bytes_max=1 << 20)
    again = begin(record)
    assert again.swarm(BEGAN + 31).received == record.view.swarm.received
    run(again, 40, ALIKE, since=32)
    points = again.record(BEGAN + 40).view.points
    assert [point.at_s for point in points] == [float(second) for second in range(37)]
    assert all(a.coverage <= b.coverage for a, b in itertools.pairwise(points))
    swarm = again.swarm(BEGAN + 40)
    assert (swarm.last_s, swarm.received.origin) == (36, SIZE)
    assert swarm.last_x == pytest.approx(1.0, rel=0.03)


def test_only_the_worst_stragglers_are_listed_and_the_rest_is_counted() -> None:
    names = [HostName(f"x{number}") for number in range(100)]
    facts = {name: HostFacts(cell=CELL, staged=n >= 40, alive=True) for n, name in enumerate(names)}
    many = msgspec.structs.replace(spreading(), hosts=facts)
    spread = Spread(many, began_at=BEGAN, size_bytes=SIZE, piece_size_bytes=PIECE)
    spread.look(many, BEGAN + 60)
    swarm = spread.swarm(BEGAN + 60)
    assert (len(swarm.stragglers), swarm.stragglers_more) == (16, 24)
    assert {straggler.cause for straggler in swarm.stragglers} == {"control"}
