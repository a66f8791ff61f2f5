"""Rates on the command line."""

from __future__ import annotations

import pytest

from p2pctl.rate_option import parse_rate, show_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("200Mbit/s", 25_000_000),
        ("25MB/s", 25_000_000),
        ("1.5Gbit/s", 187_500_000),
        ("2000kbit/s", 250_000),
        ("512KiB/s", 524_288),
        ("2 MiB/s", 2_097_152),
        ("10Mbitps", 1_250_000),
        ("unlimited", None),
    ],
)
def test_a_rate_is_bytes_per_second(text: str, rate: int | None):
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a rate"),
        ("200", "not a rate"),
        ("200Mbit", "not a rate"),
        ("-5MB/s", "not a rate"),
        ("5MB/h", "not a rate"),
        ("nan MB/s", "not a rate"),
        ("200Mb/s", "unknown unit 'Mb'"),
        ("200mb/s", "unknown unit 'mb'"),
        ("0MB/s", "not between 1 Mbit/s and 800 Gbit/s"),
        ("900kbit/s", "not between"),
        ("9" * 400 + "GB/s", "not between"),
    ],
)
def test_what_is_no_rate_is_refused_with_its_reason(text: str, why: str):
    with pytest.raises(ValueError, match=why):
        parse_rate(text)


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (None, "unlimited"),
        (125_000, "1 Mbit/s"),
        (25_000_000, "200 Mbit/s"),
        (187_500_000, "1.5 Gbit/s"),
        (1_048_576, "8.39 Mbit/s"),
    ],
)
def test_rates_are_shown_in_bits(rate: int | None, text: str):
    assert show_rate(rate) == text


@pytest.mark.parametrize(
    "words",
    [
        ("set", "25MB/s"),
        ("set", "25MB/s", "--host", "h1", "--cell", "c"),
        ("set", "25MB/s", "--env", "lab"),
        ("set", "25MB/s", "--host", "h1", "--each-host"),
        ("set", "25MB/s", "--cell", "c", "--upload", "5MB/s"),
        ("set", "200Mb/s", "--host", "h1"),
        ("set", "25MB/s", "--host", "h1", "--upload", "fast"),
        ("clear",),
    ],
)
def test_an_unclear_command_line_is_one_line(p2pctl, fleet, words: tuple[str, ...]):
    done = p2pctl("limits", *words, "--dir", fleet)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
