"""Rate limits of real daemons: they hold while a fetch runs, are lifted live, outlive restarts."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pdeploy.errors import P2PDeployError
from p2pdeploy.host_client import ask_status
from p2pdeploy.messages.rates import RatesInForce
from tests.integration.fleet import CONTROL_PLANE, Fleet, running_fleet
from tests.integration.payloads import write_payload
from tests.integration.waiting import wait_for

pytestmark = pytest.mark.processes

LIMIT_BYTES_PER_S = 1_000_000
DATA_BYTES = 96 * 1024 * 1024  # at the limit it would take a minute and a half
SLOW_BYTES = 4_000_000  # looked at while it is slow
_RECEIVED = re.compile(r"^p2pdaemon_fetched_bytes_total\{[^}]*\} (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("fleet") / "dir", 2, 2) as fleet:
        yield fleet


def received(fleet: Fleet, host: str) -> float:
    """What *host* was dealt and given by peers, in bytes."""
    return sum(map(float, _RECEIVED.findall(fleet.host_metrics(host))))


def wait_received(fleet: Fleet, host: str, size_bytes: float) -> tuple[float, float]:
    """Wait until *host* has received that much; what it has by then, and when."""
    seen = wait_for(
        lambda: received(fleet, host),
        f"{host} has {size_bytes:.0f} bytes",
        until=lambda seen: seen >= size_bytes,
    )
    return seen, time.monotonic()


def in_force(fleet: Fleet, host: str) -> Any:
    return fleet.ok("limits", "get", "--host", host)["in_force"]


def wait_in_force(fleet: Fleet, host: str, rate: int | None) -> None:
    wait_for(
        lambda: in_force(fleet, host),
        f"{host} keeps to {rate}",
        until=lambda seen: seen["download_bytes_per_s"] == rate,
    )


def test_a_fetch_is_slowed_by_a_limit_and_freed_when_it_is_cleared(
    fleet: Fleet, tmp_path: Path
) -> None:
    everybody = ("--env", "lab", "--mf", "web", "--each-host")
    fleet.ok("limits", "set", "8Mbit/s", *everybody)
    for host in ("h01", "h02"):
        wait_in_force(fleet, host, LIMIT_BYTES_PER_S)
    assert in_force(fleet, "h01")["download_reason"] == "configured"

    fleet.publish("bulk", "1", write_payload(tmp_path / "tree", "bulk", data_bytes=DATA_BYTES))
    rollout = fleet.apply("bulk", "1")
    first, began_at = wait_received(fleet, "h01", SLOW_BYTES)
    more, until = wait_received(fleet, "h01", first + SLOW_BYTES)
    slow = (more - first) / (until - began_at)

    cleared_at = time.monotonic()
    fleet.ok("limits", "clear", *everybody)
    whole, done_at = wait_received(fleet, "h01", DATA_BYTES * 0.9)
    free = (whole - more) / (done_at - cleared_at)
    assert slow < 2 * LIMIT_BYTES_PER_S
    assert free > 3 * slow, (slow, free)
    fleet.finish(rollout)
    assert in_force(fleet, "h01")["download_reason"] == "none"


def test_limits_outlive_restarts_of_the_daemon_without_the_control_plane(fleet: Fleet) -> None:
    fleet.ok("limits", "set", "40Mbit/s", "--host", "h02")
    fleet.ok("limits", "set", "80Mbit/s", "--cell", "lab.web.c0")
    wait_in_force(fleet, "h02", 5_000_000)
    kept = fleet.state("h02") / "rate-limits"
    wait_for(lambda: kept.exists() and kept.read_bytes(), "the limits are on the disk")
    fleet.kill("h01", "h02", CONTROL_PLANE)
    fleet.launch("h02")
    rates = wait_for(lambda: _own_word(fleet, "h02"), "h02 keeps to its limit, alone")
    assert rates.download_bytes_per_s == 5_000_000
    fleet.start(CONTROL_PLANE, "h01")
    assert {limit["name"] for limit in fleet.ok("limits", "get")} == {"h02", "lab.web.c0"}
    assert in_force(fleet, "h01")["uplink_bytes_per_s"] is not None
    assert fleet.ok("limits", "clear", "--host", "h02")["name"] == "h02"
    wait_in_force(fleet, "h02", None)
    assert fleet.refused("limits", "clear", "--host", "h02")["code"] == "no-limit"


def _own_word(fleet: Fleet, host: str) -> RatesInForce | None:
    """What *host* says of its rates once it has some, asked directly."""
    try:
        rates = trio.run(ask_status, fleet.address_of(host)).rates
    except P2PDeployError:  # not up yet
        return None
    return rates if rates is not None and rates.limits_seq else None
