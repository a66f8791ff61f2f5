"""Rates: the lower one wins and says why; a cell's hosts together stay inside its uplink."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.messages.rates import UNLIMITED, RateLimit
from p2pdeploy.swarm.bucket import Bucket
from p2pdeploy.swarm.rates import peer_rate, rates_in_force, uplink_share
from p2pdeploy.swarm.yielding import Ceiling

MB = 1_000_000


def test_without_limit_and_pressure_everything_is_free():
    rates = rates_in_force(UNLIMITED, Ceiling(), Ceiling(), None)
    assert (rates.download_bytes_per_s, rates.download_reason) == (None, "none")


def test_the_lower_of_limit_and_pressure_is_in_force_and_named():
    limit = RateLimit(download_bytes_per_s=20 * MB, upload_bytes_per_s=20 * MB)
    rates = rates_in_force(limit, Ceiling(5 * MB, 1.2), Ceiling(30 * MB, 1.2), 3 * MB)
    assert (rates.download_bytes_per_s, rates.download_reason) == (5 * MB, "pressure")
    assert (rates.upload_bytes_per_s, rates.upload_reason) == (20 * MB, "configured")
    assert (rates.uplink_bytes_per_s, rates.pressure) == (3 * MB, 1.2)


@given(st.integers(125_000, 10**11), st.integers(0, 1_000))
def test_the_shares_of_all_hosts_are_no_more_than_the_uplink(uplink: int, hosts: int):
    share = uplink_share(uplink, hosts)
    assert share is not None
    assert 0 < share * max(hosts, 1) <= uplink


@given(st.integers(125_000, 10**10), st.integers(0, 10**10))
def test_peers_and_deals_together_are_no_more_than_the_download(download: int, dealt: int):
    waiting = peer_rate(download, dealt, deals_wait=True)
    using = peer_rate(download, dealt, deals_wait=False)
    assert waiting is not None
    assert using is not None
    assert waiting + download // 2 <= download
    assert waiting <= using <= download
    assert using + min(dealt, download // 2) <= download


def test_an_unlimited_download_leaves_peers_unlimited():
    assert peer_rate(None, 10 * MB, deals_wait=True) is None


def test_what_is_taken_is_paid_off_at_the_rate():
    bucket = Bucket(0.0)
    bucket.set_rate(2 * MB, 0.0)
    assert bucket.wait_s(0.0) == 0
    bucket.spend(8 * MB, 0.0)
    assert bucket.wait_s(0.0) == 4
    assert bucket.wait_s(3.0) == 1
    assert bucket.wait_s(4.0) == 0


def test_another_rate_counts_from_now_on():
    bucket = Bucket(0.0)
    bucket.set_rate(1 * MB, 0.0)
    bucket.spend(8 * MB, 0.0)
    bucket.set_rate(4 * MB, 4.0)
    assert bucket.wait_s(4.0) == 1
    bucket.set_rate(None, 4.0)
    assert bucket.wait_s(4.0) == 0


def test_a_pause_is_not_made_up_for():
    bucket = Bucket(0.0)
    bucket.set_rate(1 * MB, 0.0)
    bucket.spend(0, 1_000.0)
    bucket.spend(3 * MB, 1_000.0)
    assert bucket.wait_s(1_000.0) == 2


@given(st.lists(st.tuples(st.integers(1, 16 * MB), st.floats(0, 30)), min_size=1))
def test_over_any_time_no_more_is_taken_than_the_rate_and_one_piece(
    pieces: list[tuple[int, float]],
):
    bucket, rate, now, taken = Bucket(0.0), MB, 0.0, 0
    bucket.set_rate(rate, now)
    for size_bytes, pause_s in pieces:
        now += pause_s + bucket.wait_s(now + pause_s)
        assert taken <= rate * (now + 1.0) + 1
        bucket.spend(size_bytes, now)
        taken += size_bytes
