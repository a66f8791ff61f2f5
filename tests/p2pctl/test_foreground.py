"""``p2pctl up`` in the foreground, as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from p2pctl.cli import run
from p2pctl.lab.layout import read_hosts
from p2pctl.lab.programs import find_running, programs_of

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def test_a_killed_up_leaves_a_fleet_that_the_next_up_adopts_and_ctrl_c_ends(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "fleet"
    try:
        with start_up(folder, "--hosts", "1", "--fault-domains", "1") as first:
            wait_until_up(first)
            before = running(folder)
            assert set(before) == {"control-plane", "h01"}
            refused = subprocess.run(command(folder), capture_output=True, check=False)
            assert refused.returncode == 1
            assert b"another 'p2pctl up' runs" in refused.stderr
            first.kill()
        assert running(folder) == before

        with start_up(folder) as second:
            wait_until_up(second)
            assert running(folder) == before
            second.send_signal(signal.SIGINT)
            second.wait(60)
        assert second.returncode == 0
        assert running(folder) == {}
    finally:
        run(["down", "--dir", str(folder)])


def command(folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "p2pctl", "up", "--dir", str(folder), *more]


def start_up(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(folder, *more), stderr=subprocess.PIPE, env=os.environ)


def wait_until_up(up: subprocess.Popen[bytes]) -> None:
    assert up.stderr is not None
    told = []
    for line in up.stderr:
        told.append(line)
        if b"Ctrl-C takes the fleet down" in line:
            return
    raise AssertionError(told)


def running(folder: Path):
    return find_running(programs_of(folder, read_hosts(folder)))
