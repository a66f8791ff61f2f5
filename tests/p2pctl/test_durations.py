from __future__ import annotations

import pytest

from p2pctl.durations import parse_duration_s, show_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("90s", 90), ("90", 90), ("2.5m", 150), ("1h", 3600), (" 5s ", 5), ("0", 0)],
)
def test_units_are_ms_s_m_h_and_seconds_by_default(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "5 s", "-1s", "1d", "1h30m", "nan", "inf", "1e3", "1,5s"]
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"500ms, 90s, 2\.5m or 1h"):
        parse_duration_s(text)


def test_a_slip_of_the_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 30 days"):
        parse_duration_s("150000h")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.02, "20ms"),
        (9.46, "9.5s"),
        (42, "42s"),
        (60, "1m00s"),
        (250, "4m10s"),
        (3720, "1h02m"),
        (180_000, "2d02h"),
    ],
)
def test_ages_read_in_at_most_two_units(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text
