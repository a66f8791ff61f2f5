"""``p2pctl down`` beside an ``up`` or another ``down``, each a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pctl.cli import run
from p2pctl.lab.layout import read_hosts
from p2pctl.lab.programs import find_running, programs_of

pytestmark = [pytest.mark.processes, pytest.mark.slow]

NEW = ("--detach", "--hosts", "2", "--fault-domains", "2")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Of a fleet to be; whatever a test leaves up is taken down."""
    yield tmp_path / "fleet"
    run(["down", "--dir", str(tmp_path / "fleet")])


def test_a_down_at_work_refuses_an_up_and_is_waited_for_by_a_down(p2pctl, folder: Path) -> None:
    assert p2pctl("up", "--dir", folder, *NEW).code == 0
    with start("down", folder) as first:
        wait_for_line(first, b"stopping 2 daemons")
        first.send_signal(signal.SIGSTOP)  # so that it is at work for as long as it takes
        try:
            refused = p2pctl("up", "--dir", folder, "--detach", "-o", "json")
            with start("down", folder) as second:
                wait_for_line(second, b"waiting for another")
                first.send_signal(signal.SIGCONT)
        finally:
            first.send_signal(signal.SIGCONT)
    assert (first.returncode, second.returncode) == (0, 0)
    assert (refused.code, refused.error_code) == (1, "going-down")
    assert running(folder) == {}
    assert sorted(path.name for path in (folder / "run").iterdir()) == ["lock"]


def test_a_down_ends_an_up_that_is_starting(p2pctl, folder: Path) -> None:
    with start("up", folder, *NEW) as up:
        wait_for_line(up, b"starting h01")
        assert p2pctl("down", "--dir", folder).code == 0
        assert up.wait(60) == 1
        assert up.stderr is not None
        assert b"taken down meanwhile" in up.stderr.read()
    assert running(folder) == {}


def start(verb: str, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "p2pctl", verb, "--dir", str(folder), *more]
    return subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ
    )


def wait_for_line(process: subprocess.Popen[bytes], words: bytes) -> None:
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        if words in line:
            return
    raise AssertionError(told)


def running(folder: Path):
    return find_running(programs_of(folder, read_hosts(folder)))
