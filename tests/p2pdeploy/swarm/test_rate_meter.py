"""Goodput out of a total that grows: evened out, and never a burst."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.swarm.rate_meter import WINDOW_S, LinkPeaks, RateMeter

MB = 1_000_000


def metered(totals: list[tuple[float, int]], step_bytes: int = 0) -> RateMeter:
    meter = RateMeter(step_bytes)
    for now, total_bytes in totals:
        meter.note(now, total_bytes)
    return meter


def test_a_steady_stream_is_its_own_peak() -> None:
    meter = metered([(second, second * MB) for second in range(20)])
    assert meter.bytes_per_s == meter.peak_bytes_per_s == MB


def test_what_is_shorter_than_a_window_has_a_rate_and_no_peak() -> None:
    meter = metered([(0.0, 0), (WINDOW_S / 2, 10 * MB)])
    assert meter.bytes_per_s == 5 * MB
    assert meter.peak_bytes_per_s == 0


def test_a_pause_lowers_the_rate_and_not_the_peak() -> None:
    stream = [(float(second), second * MB) for second in range(10)]
    meter = metered([*stream, *((float(second), 9 * MB) for second in range(10, 30))])
    assert meter.bytes_per_s <= 0.1 * MB
    assert meter.peak_bytes_per_s == pytest.approx(MB)


def test_a_burst_of_a_shaper_is_evened_out() -> None:
    meter = metered([(0.0, 0), (1.0, 3 * MB), *((float(s), (s + 2) * MB) for s in range(2, 20))])
    assert meter.peak_bytes_per_s <= 1.5 * MB


def test_large_pieces_do_not_look_like_a_fast_link() -> None:
    piece = 16 * MB  # one every eight seconds
    meter = metered([(float(s), s // 8 * piece) for s in range(800)], step_bytes=piece)
    assert 0 < meter.peak_bytes_per_s <= 1.04 * piece / 8


@pytest.mark.parametrize("notes_per_s", [1, 7, 500])
@pytest.mark.parametrize("step_bytes", [0, 16 * MB])
def test_a_peak_is_found_however_often_a_total_is_noted(notes_per_s: int, step_bytes: int) -> None:
    moments = (number / notes_per_s for number in range(900 * notes_per_s))
    meter = metered([(at, int(at * MB)) for at in moments], step_bytes=step_bytes)
    assert meter.peak_bytes_per_s == pytest.approx(MB, rel=0.01)


def test_a_total_that_falls_and_a_clock_that_stands_change_nothing() -> None:
    meter = metered([(0.0, 0), (5.0, 5 * MB), (5.0, 50 * MB), (6.0, MB)])
    assert meter.bytes_per_s == meter.peak_bytes_per_s == MB


def test_the_peaks_of_a_host_outlive_a_release() -> None:
    peaks = LinkPeaks()
    fast, slow = (metered([(s, s * rate) for s in range(9)]) for rate in (MB, MB // 2))
    peaks.note(down=fast, up=slow)
    peaks.note(down=slow, up=slow)
    assert (peaks.down_bytes_per_s, peaks.up_bytes_per_s) == (MB, MB // 2)


@given(st.lists(st.tuples(st.floats(0.01, 10), st.integers(0, 10**9)), max_size=100))
def test_no_peak_is_above_the_fastest_step(steps: list[tuple[float, int]]) -> None:
    meter, now, total = RateMeter(), 0.0, 0
    meter.note(now, total)
    for seconds, size_bytes in steps:
        now, total = now + seconds, total + size_bytes
        meter.note(now, total)
    fastest = max((size_bytes / seconds for seconds, size_bytes in steps), default=0.0)
    assert meter.peak_bytes_per_s <= fastest * 1.001 + 1
