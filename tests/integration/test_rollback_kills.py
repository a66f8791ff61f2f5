"""Kill -9 on the way back: it is gone to its end, and nobody ever starts what was aborted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.fleet import CONTROL_PLANE, Fleet, Served
from tests.integration.monitor import watch_service
from tests.integration.payloads import Publish
from tests.integration.waiting import wait_for

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("deployed")]

# Fault domains of h01 and h02, h03 and h04, h05 and h06; a plan lets this many be down at once.
SWITCHED, UNTOUCHED = ("h01", "h02"), ("h05", "h06")
UNAVAILABLE_MAX = 2
# A host whose daemon was killed is waited for this long and more, in every test here.
START_TIMEOUT_S = 60.0


class Gates:
    """Holds the starts of a version on each host until the host's gate is open."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.pattern = folder / "gate-$HOST"
        self._paths = {name: folder / f"gate-{_address(fleet, name)}" for name in fleet.names()}

    def open(self) -> None:
        for path in self._paths.values():
            path.touch()

    def close(self, *hosts: str) -> None:
        for host in hosts:
            self._paths[host].unlink()


@pytest.fixture
def gates(fleet: Fleet, open_folder: Path) -> Gates:
    """One gate a host, all open."""
    gates = Gates(fleet, open_folder)
    gates.open()
    return gates


def _address(fleet: Fleet, host: str) -> str:
    return fleet.file()["hosts"][host]["address"]


def _only(words: dict[str, Served | None], hosts: tuple[str, ...]) -> dict[str, Served | None]:
    return {host: words[host] for host in hosts}


@pytest.mark.parametrize("killed", [CONTROL_PLANE, "h01"])
def test_a_rollback_is_finished_after_a_kill_in_its_middle(
    fleet: Fleet, publish: Publish, gates: Gates, killed: str
) -> None:
    good, bad = f"1-{killed}", f"1-{killed}-bad"
    publish(good, mode="gated", gate=gates.pattern, start_timeout_s=START_TIMEOUT_S)
    fleet.roll_out("web", good)
    before = fleet.all_serve("web")
    publish(bad, mode="exits", only_on=_address(fleet, "h03"), start_timeout_s=START_TIMEOUT_S)
    gates.close(*SWITCHED)
    with watch_service(fleet, "web") as seen:
        rollout = fleet.apply("web", bad)
        begun = fleet.wait_begun("h01", "web", bad)
        back = fleet.wait_begun("h01", "web", good)
        assert fleet.rollout(rollout)["state"] == "rolling-back"
        fleet.kill(killed)
        assert fleet.word("h01", "web") == (503, back), "it outlives the kill"
        gates.open()
        fleet.start(killed)
        done = fleet.finish(rollout, "rolled-back")
    assert (done["reasons"][0]["host"], done["reasons"][0]["code"]) == ("h03", "exited")
    assert fleet.versions("web") == {good}
    assert fleet.serves("h01", "web") == back, "what was started on the way back was adopted"
    assert _only(fleet.all_serve("web"), UNTOUCHED) == _only(before, UNTOUCHED)
    assert all(seen.was_never_down(host) for host in UNTOUCHED)
    assert seen.down_at_once_max() <= UNAVAILABLE_MAX
    assert fleet.starts("h01", "web").count(bad) == 1, begun
    fleet.wait_reported("web", {good: 6})


def test_a_daemon_killed_while_it_undoes_its_own_change_goes_on_undoing(
    fleet: Fleet, publish: Publish, gates: Gates
) -> None:
    publish("2", mode="gated", gate=gates.pattern, start_timeout_s=START_TIMEOUT_S)
    fleet.roll_out("web", "2")
    before = fleet.all_serve("web")
    publish("2-bad", mode="exits", start_timeout_s=START_TIMEOUT_S)
    gates.close("h01")
    with watch_service(fleet, "web") as seen:
        rollout = fleet.apply("web", "2-bad")
        fleet.wait_state("h01", "web", "rolling-back")
        back = fleet.wait_begun("h01", "web", "2")
        fleet.restart("h01")
        gates.open()
        done = fleet.finish(rollout, "rolled-back")
    assert (done["reasons"][0]["host"], done["reasons"][0]["code"]) == ("h01", "exited")
    after = fleet.all_serve("web")
    assert after["h01"] == back, "what was put back was adopted"
    others = tuple(host for host in fleet.names() if host != "h01")
    assert _only(after, others) == _only(before, others)
    assert all(seen.was_never_down(host) for host in others)
    assert fleet.starts("h01", "web").count("2-bad") == 1, "a failed build gets no second chance"


def test_a_host_that_reboots_never_starts_the_aborted_build_that_is_in_place(
    fleet: Fleet, publish: Publish, gate: Path
) -> None:
    publish("3")
    fleet.roll_out("web", "3")
    before = fleet.all_serve("web")
    h03 = _address(fleet, "h03")
    publish("3-bad", mode="gated", only_on=h03, gate=gate, start_timeout_s=START_TIMEOUT_S)
    # Nobody may go back before h03 is done, since only one host may be down.
    rollout = fleet.apply("web", "3-bad", "--max-unavailable", "1")
    fleet.wait_begun("h03", "web", "3-bad")
    fleet.ok("rollout", "abort", rollout)
    for host in SWITCHED:
        _wait_turn_to_go_back(fleet, host)
        assert (fleet.state(host) / "services" / "web" / "current").exists()
    healthy_but_aborted = fleet.serves("h01", "web")
    assert healthy_but_aborted is not None
    assert healthy_but_aborted.version == "3-bad"

    for host in ("h01", "h03"):  # one was healthy with it, one had begun
        fleet.reboot(host)
        assert fleet.word(host, "web") is None
        fleet.start(host)
        fleet.wait_serves(host, "web", "3")
    done = fleet.finish(rollout, "aborted")
    assert done["reasons"][0]["code"] == "operator"
    assert fleet.versions("web") == {"3"}
    for host in ("h01", "h03"):
        started = fleet.starts(host, "web")
        assert started[-2:] == ["3-bad", "3"], started
        assert started.count("3-bad") == 1, started
    assert _only(fleet.all_serve("web"), UNTOUCHED) == _only(before, UNTOUCHED)


def _wait_turn_to_go_back(fleet: Fleet, host: str) -> None:
    """Wait until a host knows of the abort and waits for its name in a GO."""
    wait_for(
        lambda: fleet.holds(host, "web"),
        f"{host} waits for its turn to go back",
        until=lambda code: code in ("not-granted", "not-named"),
    )
