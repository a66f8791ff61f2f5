"""Fleets come up, go down, crash and go on; side by side on one machine, each in its folder."""

from __future__ import annotations

import http.client
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from select import select

import pytest

from tests.integration.fleet import CONTROL_PLANE, Fleet, running_fleet
from tests.integration.payloads import write_payload, write_payload_of_another_kind
from tests.integration.waiting import ask, running, wait_for

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Four hosts in fault domains of 2, 1 and 1, ``web`` 1 deployed."""
    folder = tmp_path_factory.mktemp("fleet")
    with running_fleet(folder / "dir", 4, 3) as fleet:
        fleet.publish("web", "1", write_payload(folder / "web", "web"))
        fleet.roll_out("web", "1")
        yield fleet


def test_fault_domains_of_one_host_take_their_turn(fleet: Fleet) -> None:
    done = fleet.rollout("web-1")
    assert [(d["name"], d["total"]) for d in done["fault_domains"]] == [
        ("fd0", 2),
        ("fd1", 1),
        ("fd2", 1),
    ]
    domains = done["fault_domains"]
    assert domains[0]["finished_at"] <= domains[1]["started_at"]
    assert domains[1]["finished_at"] <= domains[2]["started_at"]


def test_the_folder_and_its_secrets_are_private(fleet: Fleet) -> None:
    assert stat.S_IMODE(fleet.folder.stat().st_mode) == 0o700
    secret = ("fleet.json", "operator/operator.pem", "trust/fleet-ca.key", "trust/keys/go.key")
    for name in (*secret, "hosts/h01/identity/attestation.key"):
        assert stat.S_IMODE((fleet.folder / name).stat().st_mode) == 0o600
    assert set(fleet.file()) == {"api", "announce", "hosts"}
    for entry in fleet.file()["hosts"].values():
        assert {"address", "swarm_port", "gossip_port"} <= set(entry)
        assert entry["address"].startswith("127.")


def test_a_key_that_others_may_read_is_refused(fleet: Fleet) -> None:
    key = fleet.folder / "operator" / "operator.pem"
    key.chmod(0o644)
    try:
        done = fleet.ctl("hosts")
        assert done.code in (1, 2), done
        assert "operator.pem" in done.document["error"]["where"], done
    finally:
        key.chmod(0o600)


def test_an_address_that_is_not_of_one_machine_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    config = fleet.folder / "hosts" / "h01" / "daemon.toml"
    address = fleet.file()["hosts"]["h01"]["address"]
    anywhere = tmp_path / "daemon.toml"
    anywhere.write_text(config.read_text().replace(f'"{address}"', '"0.0.0.0"'))
    _refuses_address("p2pdaemon", "--config", anywhere)
    tracker = tmp_path / "fleet"
    tracker.mkdir(mode=0o700)
    for name in ("inventory.json", "tracker.toml"):
        (tracker / name).touch(mode=0o600)
        (tracker / name).write_bytes((fleet.folder / name).read_bytes())
    control_plane = fleet.netloc().partition(":")[0]
    text = (tracker / "tracker.toml").read_text().replace(control_plane, "0.0.0.0")
    (tracker / "tracker.toml").write_text(text)
    _refuses_address("p2ptracker", "--dir", tracker)


def _refuses_address(program: str, option: str, path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", program, "run", option, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done
    assert "IPv4 address of one machine" in done.stderr, done
    assert len(done.stderr.splitlines()) == 1, done


def test_a_folder_in_use_is_refused(fleet: Fleet) -> None:
    before = fleet.running()
    assert fleet.refused("up", "--detach")["code"] == "in-use"
    assert fleet.running() == before


def test_a_service_of_the_users_own_runs(fleet: Fleet, tmp_path: Path) -> None:
    tree = write_payload_of_another_kind(tmp_path / "mine", "mine")
    assert fleet.ok("lint", tree)["ok"]
    fleet.publish("mine", "2024-06", tree)
    fleet.roll_out("mine", "2024-06")
    for host in fleet.names():
        address = fleet.service(host, "mine")["address"]
        assert ask(address, "GET", "/index.html") == (200, b"<p>mine</p>\n")


def test_two_fleets_live_side_by_side(fleet: Fleet, tmp_path: Path) -> None:
    before = fleet.all_serve("web")
    with running_fleet(tmp_path / "dir", 2, 2) as second:
        ours = {entry["address"] for entry in fleet.file()["hosts"].values()}
        theirs = {entry["address"] for entry in second.file()["hosts"].values()}
        assert not ours & theirs
        assert second.file()["api"] != fleet.file()["api"]
        assert second.refused("release", "show", "web", "1")["code"] == "no-release"
        second.publish("web", "2", write_payload(tmp_path / "web", "web", note="theirs"))
        second.roll_out("web", "2")
        assert second.versions("web") == {"2"}
        assert fleet.all_serve("web") == before
        assert set(second.hosts()) == {"h01", "h02"}
    assert fleet.all_serve("web") == before
    assert all(host["alive"] for host in fleet.hosts().values())


def test_a_fleet_that_was_stopped_goes_on_where_it_was(fleet: Fleet) -> None:
    file, ports = fleet.file(), {host: fleet.port(host, "web") for host in fleet.names()}
    fleet.down()
    assert fleet.left_over() == {}
    assert fleet.ok("down")["stopped"] == []
    assert fleet.refused("hosts")["code"] == "control-plane-down"
    fleet.ok("up", "--detach")
    assert fleet.file() == file
    fleet.wait_all_serve("web", "1")
    assert {host: fleet.port(host, "web") for host in fleet.names()} == ports
    assert [r["id"] for r in fleet.ok("rollout", "history", "web")] == ["web-1"]
    fleet.wait_reported("web", {"1": 4})


def test_a_fleet_that_crashed_goes_on_where_it_was(
    fleet: Fleet, tmp_path: Path, gate: Path
) -> None:
    tree = write_payload(tmp_path / "web", "web", mode="gated", gate=gate, start_timeout_s=60)
    fleet.publish("web", "2", tree)
    rollout = fleet.apply("web", "2")
    fleet.wait_begun("h01", "web", "2")
    fleet.kill_everything()
    gate.touch()
    fleet.ok("up", "--detach")
    fleet.finish(rollout)
    fleet.wait_all_serve("web", "2")


def test_up_adopts_what_still_runs_and_starts_the_rest(fleet: Fleet) -> None:
    services, programs = fleet.all_serve("web"), fleet.running()
    fleet.kill(CONTROL_PLANE, "h02")
    done = fleet.ok("up", "--detach")
    assert done["started"] == [CONTROL_PLANE, "h02"]
    assert done["adopted"] == ["h01", "h03", "h04"]
    assert fleet.running()["h01"] == programs["h01"]
    assert fleet.all_serve("web") == services


def test_ctrl_c_takes_a_fleet_in_the_foreground_down(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "dir")
    words = fleet.command("up", "--hosts", 2, "--fault-domains", 1)
    with running(words) as up:
        said = up.stdout
        assert said is not None
        wait_for(lambda: select([said], [], [], 0)[0], "it says that it is up")
        assert said.readline().startswith(b"{")
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
    assert fleet.left_over() == {}
    with pytest.raises((OSError, http.client.HTTPException)):
        fleet.hosts()
