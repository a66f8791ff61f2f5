"""What goes wrong while a release is on its way, in a small lab: real programs, shaped cables."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration import small_lab
from tests.integration.namespaces import why_not

_WHY_NOT = why_not()
pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    # Nobody but root makes namespaces.  `.ci/run` runs as root; elsewhere the reason is printed.
    pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT),
]

HOSTS, MBIT, MIB = 4, 20.0, 8
SLOW_HOST_S = MIB * 8.39 / (MBIT / 10)  # what its own cable takes; 3.4 s for everybody else


def strike(fault: str, **shape: float) -> dict[str, Any]:
    """The line of *fault* in a lab of this size."""
    return small_lab.strike(fault, **{"hosts": HOSTS, "mbit": MBIT, "mib": MIB, **shape})


def test_an_origin_that_is_gone_for_a_while_delays_and_sends_little_twice() -> None:
    row = strike("origin-restarted-30")
    assert row["hosts"] == HOSTS
    assert row["coverage"] < 0.9, "it struck in the middle"
    assert row["origin_egress_f"] < 1.3


def test_without_the_origin_hosts_share_what_had_left_it() -> None:
    row = strike("tracker-killed-30")
    assert row["coverage"] < 0.9, "it struck in the middle"
    # Headers of TLS and of the peer protocol pass the cable too; what was in flight is lost.
    assert row["held_f_min"] > 0.8 * row["left_origin_f"]


def test_an_origin_that_is_gone_once_all_has_left_it_is_not_missed() -> None:
    row = strike("origin-killed-planted")
    assert row["hosts"] == HOSTS
    assert row["origin_egress_f"] < 1.3


def test_nobody_waits_for_a_slow_host() -> None:
    row = strike("slow-host")
    assert row["hosts"] == HOSTS - 1
    assert row["last_x"] * row["bound_s"] < SLOW_HOST_S / 2


def test_a_host_that_was_killed_fetches_again_only_what_was_in_flight() -> None:
    row = strike("host-killed")
    assert row["hosts"] == HOSTS
    # It had half when it was killed.  In flight are a few deals, and 16 blocks of 16 KiB at each
    # of its neighbours.
    assert row["fetched_again_mib"] < MIB / 4


def test_when_a_fault_domain_goes_the_others_complete() -> None:
    row = strike("domain-gone", racks=2)
    assert (row["hosts_gone"], row["hosts"]) == (HOSTS // 2, HOSTS // 2)
    assert row["coverage"] < 0.9, "it struck in the middle"


def test_a_cell_that_was_cut_off_completes_once_it_is_healed() -> None:
    row = strike("cell-cut", cells=2, wan_mbit=2 * MBIT)
    assert row["hosts"] == HOSTS
    assert row["coverage"] < 0.9, "it struck in the middle"
    assert row["last_x"] * row["bound_s"] > row["struck_at_s"] + row["cut_s"], "nobody got round it"
