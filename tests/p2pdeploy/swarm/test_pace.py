"""Deals are paid off before the next one, peers' bytes count, and hosts do not draw in step."""

from __future__ import annotations

from p2pdeploy.swarm.pace import DealPace

MB = 1_000_000


def drawn(pace: DealPace, seconds: int, deal_bytes: int = MB) -> list[float]:
    """When a host that draws whenever it may draws within *seconds*."""
    found: list[float] = []
    now = 0.0
    pace.begin(deal_bytes, now)
    while (now := now + pace.wait_s(now)) < seconds:
        found.append(now)
        pace.note_dealt(deal_bytes, now)
        now += 0.01
    return found


def test_without_rates_nobody_waits():
    pace = DealPace(0.9, 0.0)
    pace.begin(MB, 0.0)
    pace.note_dealt(100 * MB, 0.0)
    assert pace.wait_s(0.0) == 0
    assert not pace.is_waiting(0.0)


def test_deals_come_at_the_lower_of_both_rates():
    for download, uplink in ((MB // 4, None), (MB // 4, MB), (None, MB // 4), (MB, MB // 4)):
        pace = DealPace(0.0, 0.0)
        pace.allow(download, uplink, 0.0)
        assert 10 <= len(drawn(pace, 40)) <= 11, (download, uplink)


def test_what_peers_bring_is_paid_by_the_download_and_not_by_the_uplink():
    pace = DealPace(0.0, 0.0)
    pace.allow(MB, 2 * MB, 0.0)
    pace.note_peers(3 * MB, 0.0)
    assert pace.wait_s(0.0) == 3
    pace.allow(None, 2 * MB, 0.0)
    assert pace.wait_s(0.0) == 0


def test_all_hosts_of_a_cell_together_stay_within_its_uplink_from_the_start():
    hosts, uplink, seconds = 100, 5 * MB, 60
    draws: list[float] = []
    for number in range(hosts):
        pace = DealPace(number / hosts, 0.0)
        pace.allow(None, uplink // hosts, 0.0)
        draws += drawn(pace, seconds)
    for second in range(5, seconds, 5):
        came = MB * sum(at < second for at in draws)
        assert 0.8 * uplink * second <= came <= 1.1 * uplink * (second + 1)


def test_a_share_that_comes_in_the_middle_does_not_start_all_hosts_at_once():
    waits: list[float] = []
    for phase in (0.1, 0.5, 0.9):
        pace = DealPace(phase, 0.0)
        pace.begin(10 * MB, 0.0)
        pace.allow(None, MB, 5.0)
        waits.append(pace.wait_s(5.0))
    assert waits == [1.0, 5.0, 9.0]


def test_who_was_told_to_wait_is_waiting_until_he_stops_asking():
    pace = DealPace(0.0, 0.0)
    pace.allow(MB, None, 0.0)
    pace.note_dealt(2 * MB, 0.0)
    assert pace.wait_s(0.5) > 0
    assert pace.is_waiting(3.0)
    assert not pace.is_waiting(8.0)
