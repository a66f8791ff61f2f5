"""What a host may say of itself at all: everybody computes with it, stores it and shows it."""

from __future__ import annotations

import math

import pytest

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import ProtocolError
from p2pdeploy.messages.attestation import REASON_CHARS_MAX, Attestation, reason_of

LIMIT_BYTES = 4096


def said(**words: object) -> bytes:
    whole = {"type": "att", "cell": "lab.web.c0", "host": "h01", "service": "hello"}
    return encode({**whole, "fault_domain": "fd0", "epoch": 1, "seq": 1, **words})


@pytest.mark.parametrize("since", [math.nan, math.inf, -math.inf, -1.0, 1e300, 253_402_300_800.0])
def test_a_moment_that_no_calendar_has_is_refused(since: float) -> None:
    with pytest.raises(ProtocolError, match="since"):
        decode(said(since=since), Attestation, bytes_max=LIMIT_BYTES)


@pytest.mark.parametrize(
    "number", ["epoch", "seq", "plan_seq", "attempt", "port", "fetched_bytes", "reused_bytes"]
)
@pytest.mark.parametrize("value", [-1, 2**63])
def test_a_number_that_counts_nothing_or_fits_no_database_is_refused(
    number: str, value: int
) -> None:
    with pytest.raises(ProtocolError, match=number):
        decode(said(**{number: value}), Attestation, bytes_max=LIMIT_BYTES)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("version", "\x1b]0;pwned\x07"),
        ("version", "1.0\n"),
        ("version", "v" * 129),
        ("digest", "a" * 63),
        ("digest", "A" * 64),
        ("reason_code", "Not A Code"),
        ("reason_code", "c" * 64),
        ("reason", "r" * (REASON_CHARS_MAX + 1)),
        ("reason", "\x1b[2J"),
        ("reason", "two\nlines"),
        ("reason", "\u202eesrever"),
    ],
)
def test_words_that_are_none_are_refused(field: str, text: str) -> None:
    with pytest.raises(ProtocolError, match=field):
        decode(said(**{field: text}), Attestation, bytes_max=LIMIT_BYTES)


def test_what_a_host_says_in_truth_is_taken() -> None:
    words = {"version": "1.0+b_2", "digest": "a" * 64, "since": 1e9, "port": 65_535}
    attestation = decode(said(**words, reason="é" * 160), Attestation, bytes_max=LIMIT_BYTES)
    assert (attestation.version, attestation.since) == ("1.0+b_2", 1e9)


def test_a_reason_that_a_daemon_makes_of_anything_is_taken() -> None:
    reason = reason_of("\x1b[2J\udcff\u202e\n" * 100)
    assert decode(said(reason=reason), Attestation, bytes_max=LIMIT_BYTES).reason == reason
