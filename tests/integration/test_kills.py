"""Kill -9 at the worst moments: nothing is lost, and nothing stops that no plan stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pdeploy.ids import Digest
from p2pdeploy.payload.stage import is_staged
from tests.integration.fleet import CONTROL_PLANE, Fleet, Served, wait_for
from tests.integration.monitor import watch_service
from tests.integration.payloads import write_payload

pytestmark = pytest.mark.processes

FETCHED_BYTES = 96 * 1024 * 1024  # takes a daemon long enough to be caught at it
TIGHT_S = 0.005

Publish = Callable[..., str]


@pytest.fixture(scope="module")
def publish(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Publish:
    """Publish a version of ``web`` that behaves as asked; returns its digest."""

    def publish(version: str, **how: object) -> str:
        folder: Path = tmp_path_factory.mktemp("payload")
        write_payload(folder, "web", note=version, **how)  # pyright: ignore[reportArgumentType]
        return fleet.publish("web", version, folder)["manifest_digest"]

    return publish


@pytest.fixture(scope="module", autouse=True)
def _deployed(fleet: Fleet, publish: Publish) -> None:
    publish("1")
    fleet.roll_out("web", "1")


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A gate that is closed; touch it to open it."""
    return tmp_path / "gate"


def test_a_service_outlives_its_daemon_and_is_adopted(fleet: Fleet) -> None:
    before = fleet.all_serve("web")
    with watch_service(fleet, "web") as seen:
        fleet.kill("h03")
        fleet.wait_lost("h03")
        fleet.start("h03")
        wait_for(lambda: fleet.service("h03", "web")["state"] == "healthy", "h03 is healthy again")
    assert seen.was_never_down("h03")
    assert fleet.all_serve("web") == before


def test_a_service_that_died_with_its_daemon_is_started_by_the_next(fleet: Fleet) -> None:
    before = fleet.serves("h02", "web")
    assert before is not None
    fleet.kill("h02")
    os.kill(before.pid, signal.SIGKILL)
    wait_for(lambda: fleet.serves("h02", "web") is None, "the service is gone")
    fleet.start("h02")
    after = wait_for(lambda: fleet.serves("h02", "web"), "h02 serves again")
    assert after.version == before.version
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
    assert {word and word.version for word in fleet.all_serve("web").values()} == {"2"}


def test_a_daemon_killed_while_it_activates_adopts_what_it_started(
    fleet: Fleet, publish: Publish, gate: Path
) -> None:
    publish("3", mode="gated", gate=gate, start_timeout_s=60)
    rollout = fleet.apply("web", "3")
    begun = fleet.begins("h01", "web", "3")
    fleet.kill("h01")
    assert fleet.word("h01", "web") == (503, begun)
    fleet.start("h01")
    gate.touch()
    fleet.finish(rollout)
    assert fleet.serves("h01", "web") == begun
    assert {word and word.version for word in fleet.all_serve("web").values()} == {"3"}


def test_what_a_killed_daemon_started_goes_back_when_it_never_gets_well(
    fleet: Fleet, publish: Publish, gate: Path
) -> None:
    before = fleet.all_serve("web")
    publish("4-bad", mode="gated", gate=gate, start_timeout_s=5)
    rollout = fleet.apply("web", "4-bad")
    fleet.begins("h01", "web", "4-bad")
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
        fleet.begins("h01", "web", "5")
        fleet.kill(CONTROL_PLANE)
        gate.touch()
        wait_for(lambda: fleet.serves("h01", "web"), "h01 serves without a control plane")
        fleet.start(CONTROL_PLANE)
        done = fleet.finish(rollout)
    assert done["version"] == "5"
    assert all(len(domains) <= 1 for domains in seen.down_together()), seen.down_together()
    for host in fleet.names():
        assert len(seen.pids(host)) <= 2, "each host's service is restarted once"
        assert seen.versions(host)[-1:] == ["5"] or seen.versions(host) == ["3"]
    assert {word and word.version for word in fleet.all_serve("web").values()} == {"5"}


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

    def arrived() -> Served | None:
        word = fleet.serves("h06", "web")
        return word if word and word.version == "6" else None

    wait_for(arrived, "h06 serves 6")
    wait_for(lambda: fleet.ok("fleet", "versions", "web")["versions"] == {"6": 6}, "reported so")


def test_a_host_that_was_off_never_starts_what_was_rolled_back(
    fleet: Fleet, publish: Publish
) -> None:
    before = fleet.all_serve("web")
    fleet.kill("h05")
    fleet.wait_lost("h05")
    digest = publish("7-bad", mode="exits", start_timeout_s=4)
    fleet.finish(fleet.apply("web", "7-bad"), "rolled-back")
    fleet.start("h05")
    wait_for(lambda: fleet.service("h05", "web")["state"] == "healthy", "h05 is healthy again")
    # The next rollout can't complete before h05 has taken part, so whatever h05 made of the old
    # orders lies behind it.
    publish("8")
    fleet.roll_out("web", "8")
    assert fleet.serves("h05", "web") != before["h05"]
    log = (fleet.state("h05") / "services" / "web" / "logs" / "output.log").read_text()
    assert "exits at once" not in log
    assert fleet.ok("fleet", "where", "web", "7-bad") == []
    assert (
        not (fleet.state("h05") / "store" / digest).exists()
        or (fleet.state("h05") / "services" / "web" / "current").readlink().parent.name != digest
    )
