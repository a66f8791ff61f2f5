"""A lab of real namespaces: its cables can be cut and healed, and nothing of it is left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.integration.namespaces import why_not
from tests.integration.waiting import wait_for

_WHY_NOT = why_not()
pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    # Nobody but root makes namespaces.  `.ci/run` runs as root; elsewhere the reason is printed.
    pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT),
]

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
MAKE = """
import subprocess, sys
from lab.network import Network
from lab.plan import plan_lab
from lab.world import enter_world
enter_world()
network = Network(plan_lab(hosts=2, mbit=50, racks=2, uplink_mbit=20))
network.make()
"""
CUT_AND_HEAL = (
    MAKE
    + """
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 9), timeout=1)"

def answers():
    # Nobody listens: a machine that is reached refuses, one that is cut off says nothing.
    words = network.inside("h01", [sys.executable, "-c", CONNECT, "10.99.0.11"])
    return "refused" in subprocess.run(words, capture_output=True, text=True).stderr

print(answers())
for end in ("h02", "c0r1"):
    network.cut(end)
    print(answers())
    network.heal(end)
    print(answers())
before = network.counts()["c0r0"]
answers()
print(network.counts()["c0r0"].up_bytes > before.up_bytes)
"""
)
WAIT = (
    MAKE
    + """
subprocess.Popen(network.inside("h01", ["sleep", "987654"]))
print("made", flush=True)
sys.stdin.read()
"""
)


def start(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_cables_are_cut_and_healed_and_read() -> None:
    with start(CUT_AND_HEAL) as script:
        said, _ = script.communicate(timeout=60)
    assert said.split() == ["True", "False", "True", "False", "True", "True"]
    assert script.returncode == 0


def test_nothing_is_left_of_a_lab_that_was_killed() -> None:
    with start(WAIT) as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "made\n"
        assert sleepers()
        script.kill()
    wait_for(lambda: (sleepers(),), "what ran in the lab is gone", until=lambda left: left == ([],))
    named = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert "h01" not in named.stdout.split()


def sleepers() -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] == ["sleep", "987654"]
    ]
