"""A fleet without its trust folder: the control plane does not start, and no port is open."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

PORTS = ("api_port", "announce_port", "upload_port")


@pytest.fixture
def guarded(fleet_dir: Path) -> Iterator[Path]:
    """A fleet whose ports are all taken: had it tried to listen, it would complain of that."""
    text = (fleet_dir / "tracker.toml").read_text()
    with ExitStack() as stack:
        for key in PORTS:
            taken = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            text = text.replace(f"{key} = 0", f"{key} = {taken.getsockname()[1]}")
        (fleet_dir / "tracker.toml").write_text(text)
        yield fleet_dir


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "p2ptracker", "run", "--dir", str(folder)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("missing", ["trust", "ca/fleet.pem", "trust/keys/go.key"])
def test_the_control_plane_does_not_start_without(guarded: Path, missing: str) -> None:
    gone = guarded / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    done = run(guarded)
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1, done
    assert "p2ptracker init" in done.stderr
    assert "cannot listen" not in done.stderr


def test_a_lab_needs_trust_as_well(guarded: Path) -> None:
    """Lab mode is about the announce endpoint: everything else stays as it is."""
    assert "lab = true" in (guarded / "tracker.toml").read_text()
    shutil.rmtree(guarded / "trust")
    assert run(guarded).returncode == 2


def test_with_trust_it_gets_as_far_as_listening(guarded: Path) -> None:
    """Or the claims above would hold of a fleet that is broken in any way."""
    assert "cannot listen" in run(guarded).stderr
