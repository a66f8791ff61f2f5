"""The faster a log grows the sooner it is looked at; quiet ones wake nobody up."""

from __future__ import annotations

from p2pdaemon.services.log_pace import LOOK_MAX_S, LOOK_MIN_S, LogPace, Looked
from p2pdaemon.services.logs import ROTATE_BYTES

MIB = 1024 * 1024


def sizes_when_looked_at(bytes_per_s: float, *, for_s: float = 120.0) -> list[float]:
    """A log that was quiet, and grows at this pace from the first look on."""
    pace, now_s, size_bytes = LogPace(), 1000.0, 0.0
    found: list[float] = []
    while now_s < 1000.0 + for_s:
        found.append(size_bytes)
        if size_bytes > ROTATE_BYTES:
            looked = Looked(int(size_bytes), 0)
            size_bytes = 0.0
        else:
            looked = Looked(int(size_bytes), int(size_bytes))
        pause_s = pace.next_look_s({"log": looked}, now_s)
        now_s += pause_s
        size_bytes += pause_s * bytes_per_s
    return found


def test_a_quiet_log_is_looked_at_seldom():
    assert len(sizes_when_looked_at(0.0, for_s=60.0)) == 60.0 / LOOK_MAX_S
    assert len(sizes_when_looked_at(100.0, for_s=60.0)) == 60.0 / LOOK_MAX_S


def test_a_log_of_one_mebibyte_a_second_stays_near_its_limit():
    assert max(sizes_when_looked_at(MIB)) <= ROTATE_BYTES + LOOK_MIN_S * MIB


def test_a_burst_is_noticed_after_one_look_and_bounded_from_then_on():
    first, second, *later = sizes_when_looked_at(50 * MIB)
    assert (first, second) == (0.0, LOOK_MAX_S * 50 * MIB)
    assert max(later) <= ROTATE_BYTES + LOOK_MIN_S * 50 * MIB


def test_the_fastest_log_sets_the_pace():
    pace = LogPace()
    pace.next_look_s({"slow": Looked(0, 0), "fast": Looked(0, 0)}, 10.0)
    logs = {"slow": Looked(10, 10), "fast": Looked(5 * MIB, 5 * MIB)}
    assert pace.next_look_s(logs, 11.0) == 0.5


def test_a_log_of_a_new_service_counts_from_nothing():
    pace = LogPace()
    pace.next_look_s({}, 10.0)
    assert pace.next_look_s({"new": Looked(5 * MIB, 5 * MIB)}, 11.0) == 0.5


def test_how_large_a_log_was_at_the_first_look_says_nothing_of_its_pace():
    assert LogPace().next_look_s({"old": Looked(9 * MIB, 9 * MIB)}, 10.0) == LOOK_MAX_S
