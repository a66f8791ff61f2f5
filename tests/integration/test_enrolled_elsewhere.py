"""A host is enrolled anew while its daemon runs: nobody believes the daemon, and nothing dies."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.fleet import Fleet
from tests.integration.payloads import Publish
from tests.integration.waiting import wait_for

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("deployed")]


P2PDAEMON = Path(sys.executable).with_name("p2pdaemon")


def _toml(fleet: Fleet, host: str) -> Path:
    return fleet.folder / "hosts" / host / "daemon.toml"


def _join_again(fleet: Fleet, host: str, toml: Path) -> subprocess.CompletedProcess[str]:
    [made] = fleet.ok("enroll", "token", "--host", host)
    command = [P2PDAEMON, "join", made["token"], "--again", "--config", toml]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_joining_anew_beside_a_running_daemon_is_one_line_that_says_what_to_do(
    fleet: Fleet,
) -> None:
    done = _join_again(fleet, "h05", _toml(fleet, "h05"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "a daemon runs on this state folder (stop it first)" in done.stderr


def test_who_was_enrolled_elsewhere_begins_nothing_and_dies_of_nothing(
    fleet: Fleet, publish: Publish, tmp_path: Path
) -> None:
    host = "h06"
    before, daemon = fleet.serves(host, "web"), fleet.running()[host]
    elsewhere = Path(shutil.copy(_toml(fleet, host), tmp_path))  # its folders are beside it
    done = _join_again(fleet, host, elsewhere)
    assert done.returncode == 0, done.stderr

    publish("2")
    rollout = fleet.apply("web", "2")
    wait_for(
        lambda: fleet.holds(host, "web"),
        "the daemon knows that nobody believes it",
        until=lambda code: code == "not-believed",
        timeout_s=120,
    )
    assert fleet.serves(host, "web") == before, "what runs is left alone"
    assert fleet.running()[host] == daemon
    fleet.ok("rollout", "abort", rollout)
