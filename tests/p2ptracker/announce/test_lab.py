"""A lab believes anybody, so it opens only where nobody else is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from p2pdeploy.errors import ConfigError
from p2ptracker.announce.lab import require_shut_off
from p2ptracker.config import load_config

OUTSIDE = "10.0.0.7"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    path = tmp_path / "machine"
    path.touch()
    return path


def test_a_lab_outside_loopback_is_refused(machine: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        require_shut_off(OUTSIDE, where="tracker.toml: lab", ours=machine, of_machine=machine)
    assert (refused.value.code, refused.value.where) == ("lab-outside", "tracker.toml: lab")


def test_a_lab_outside_loopback_is_refused_when_the_namespace_cannot_be_told(
    machine: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError):
        require_shut_off(OUTSIDE, where="lab", ours=machine, of_machine=tmp_path / "hidden")


def test_a_lab_opens_on_loopback(machine: Path) -> None:
    require_shut_off("127.0.1.9", where="lab", ours=machine, of_machine=machine)


def test_a_lab_opens_in_a_network_namespace_of_its_own(machine: Path, tmp_path: Path) -> None:
    (tmp_path / "ours").touch()
    require_shut_off(OUTSIDE, where="lab", ours=tmp_path / "ours", of_machine=machine)


def test_the_configuration_of_a_lab_outside_loopback_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tracker.toml").write_text(f'address = "{OUTSIDE}"\nlab = true\n')
    with pytest.raises(ConfigError) as refused:
        load_config(tmp_path)
    assert refused.value.code == "lab-outside"


def test_the_program_says_so_in_one_line_and_listens_nowhere(tmp_path: Path) -> None:
    (tmp_path / "tracker.toml").write_text(f'address = "{OUTSIDE}"\nlab = true\n')
    command = [sys.executable, "-m", "p2ptracker", "run", "--dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "lab" in done.stderr
