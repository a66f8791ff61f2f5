"""Kill -9 at the worst moments: nothing is lost, and nothing stops that no plan stopped."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from p2pdeploy.ids import Digest
from p2pdeploy.payload.stage import is_staged
from tests.integration.fleet import CONTROL_PLANE, Fleet
from tests.integration.monitor import watch_service
from tests.integration.payloads import Publish
from tests.integration.waiting import wait_for

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("deployed")]

FETCHED_BYTES = 96 * 1024 * 1024  # takes a daemon long enough to be caught at it
TIGHT_S = 0.005


def test_a_service_outlives_its_daemon_and_is_adopted(fleet: Fleet) -> None:
    before = fleet.all_serve("web")
    with watch_service(fleet, "web") as seen:
        fleet.kill("h03")
        fleet.wait_lost("h03")
        fleet.start("h03")
        fleet.wait_state("h03", "web", "healthy")
    assert seen.was_never_down("h03")
    assert fleet.all_serve("web") == before


def test_a_service_that_died_with_its_daemon_is_started_by_the_next(fleet: Fleet) -> None:
    before = fleet.serves("h02", "web")
    assert before is not None
    fleet.kill("h02")
    os.kill(before.pid, signal.SIGKILL)
    fleet.wait_silent("h02", "web")
    fleet.start("h02")
    after = fleet.wait_serves("h02", "web", before.version)
    assert after.pid != before.pid


def test_a_daemon_killed_while_it_fetches_goes_on_and_the_rollout_completes(
    fleet: Fleet, publish: Publish
) -> None:
    digest = Digest(publish("2", data_bytes=FETCHED_BYTES))
    root = fleet.state("h04") / "store" / digest
    rollout = fleet.apply("web", "2")
    wait_for((root / "tree" / "data").exists, "h04 begins to fetch", every_s=TIGHT_S)
    fleet.kill("h04")
    assert not is_staged(root)
    fleet.start("h04")
    fleet.finish(rollout)
    assert is_staged(root)
    assert fleet.versions("web") == {"2"}


def test_a_daemon_killed_while_it_activates_adopts_what_it_started(
    fleet: Fleet, publish: Publish, gate: Path
) -> None:
    publish("3", mode="gated", gate=gate, start_timeout_s=60)
    rollout = fleet.apply("web", "3")
    begun = fleet.wait_begun("h01", "web", "3")
    fleet.kill("h01")
    assert fleet.word("h01", "web") == (503, begun)
    fleet.start("h01")
    gate.touch()
    fleet.finish(rollout)
    assert fleet.serves("h01", "web") == begun
    assert fleet.versions("web") == {"3"}


def test_what_a_killed_daemon_started_goes_back_when_it_never_gets_well(
    fleet: Fleet, publish: Publish, gate: Path
) -> None:
    before = fleet.all_serve("web")
    publish("4-bad", mode="gated", gate=gate, start_timeout_s=5)
    rollout = fleet.apply("web", "4-bad")
    fleet.wait_begun("h01", "web", "4-bad")
    fleet.restart("h01")
    done = fleet.finish(rollout, "rolled-back")
    assert done["reasons"][0]["host"] == "h01"
    after = fleet.all_serve("web")
    assert {word and word.version for word in after.values()} == {"3"}
    assert {h: w for h, w in after.items() if h != "h01"} == {
        h: w for h, w in before.items() if h != "h01"
    }


def test_a_rollout_goes_on_when_the_control_plane_was_killed_in_its_middle(
    fleet: Fleet, publish: Publish, gate: Path
) -> None:
    publish("5", mode="gated", gate=gate, start_timeout_s=60)
    with watch_service(fleet, "web") as seen:
        rollout = fleet.apply("web", "5")
        fleet.wait_begun("h01", "web", "5")
        fleet.kill(CONTROL_PLANE)
        gate.touch()
        fleet.wait_serves("h01", "web", "5")  # without a control plane
        fleet.start(CONTROL_PLANE)
        done = fleet.finish(rollout)
    assert done["version"] == "5"
    assert all(len(domains) <= 1 for domains in seen.down_together()), seen.down_together()
    for host in fleet.names():
        assert len(seen.pids(host)) <= 2, "each host's service is restarted once"
        assert seen.versions(host)[-1:] == ["5"] or seen.versions(host) == ["3"]
    assert fleet.versions("web") == {"5"}


def test_a_host_that_was_off_converges_to_what_the_fleet_settled_on(
    fleet: Fleet, publish: Publish
) -> None:
    old = fleet.serves("h06", "web")
    fleet.kill("h06")
    fleet.wait_lost("h06")
    publish("6")
    done = fleet.roll_out("web", "6")
    assert done["absent"] == ["h06"]
    assert fleet.serves("h06", "web") == old, "a service goes on without its daemon"
    fleet.start("h06")
    fleet.wait_serves("h06", "web", "6")
    fleet.wait_reported("web", {"6": 6})


def test_a_host_that_was_off_never_starts_what_was_rolled_back(
    fleet: Fleet, publish: Publish
) -> None:
    before = fleet.all_serve("web")
    fleet.kill("h05")
    fleet.wait_lost("h05")
    publish("7-bad", mode="exits", start_timeout_s=4)
    fleet.finish(fleet.apply("web", "7-bad"), "rolled-back")
    assert "7-bad" in fleet.starts("h01", "web"), "where it was tried, its start is on record"
    fleet.start("h05")
    fleet.wait_state("h05", "web", "healthy")
    assert fleet.serves("h05", "web") == before["h05"], "it went on, and nothing replaced it"
    # The next rollout can't complete before h05 has taken part, so whatever h05 made of the old
    # orders lies behind it.
    publish("8")
    fleet.roll_out("web", "8")
    started = fleet.starts("h05", "web")
    assert started[-1] == "8"
    assert "7-bad" not in started
    assert fleet.ok("fleet", "where", "web", "7-bad") == []
