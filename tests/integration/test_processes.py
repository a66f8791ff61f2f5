"""Nothing that a test started is left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.processes import kill_below, processes_below
from tests.integration.waiting import wait_for

pytestmark = pytest.mark.processes

_TEST = """
import subprocess, sys, time
from pathlib import Path
from tests.integration.processes import spare_none_below
with spare_none_below(Path(sys.argv[1])):
    subprocess.Popen(["sleep", "600"], cwd=sys.argv[1], start_new_session=True)
    print("started", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_test_started_ends_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "machines"
    folder.mkdir()
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _TEST, f"{folder}"]
    try:
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as test:
            assert test.stdout is not None
            assert test.stdout.readline() == "started\n"
            assert any("sleep" in line for line in processes_below(folder).values())
            test.kill()
        wait_for(lambda: processes_below(folder), "the sleeper ends", until=lambda found: not found)
    finally:
        kill_below(folder)
