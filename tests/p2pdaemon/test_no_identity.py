"""A host that has not joined: its daemon does not start, and no port is open."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.topology import Host
from tests.trust_folder import add_trust, enrol

pytestmark = pytest.mark.processes

ADDRESS = "127.88.7.9"
PORTS = ("gossip_port", "swarm_port", "host_port")


@pytest.fixture
def joined(tmp_path: Path) -> Path:
    """The configuration of a host that has joined."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server((ADDRESS, 0))) for _ in PORTS]
        free = [one.getsockname()[1] for one in taken]
    host = Host(
        name=HostName("h01"),
        address=ADDRESS,
        environment="lab",
        machine_function="web",
        cell=CellId("lab.web.c0"),
        fault_domain=FaultDomain("fd0"),
        gossip_port=free[0],
        swarm_port=free[1],
        host_port=free[2],
    )
    add_trust(tmp_path / "fleet")
    enrol(tmp_path / "fleet", host, tmp_path / "identity")
    words = {key: getattr(host, key) for key in ("name", "address", "environment")}
    words |= {key: getattr(host, key) for key in ("machine_function", "cell", "fault_domain")}
    lines = [f'{key} = "{value}"' for key, value in words.items()]
    lines += [f"{key} = {port}" for key, port in zip(PORTS, free, strict=True)]
    lines += ['state_dir = "state"', 'api = "https://127.88.7.1:7400"']
    path = tmp_path / "daemon.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(config: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "p2pdaemon", "run", "--config", str(config)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("missing", ["", "leaf.pem", "attestation.key"])
def test_the_daemon_does_not_start_without(joined: Path, missing: str) -> None:
    identity = joined.parent / "identity"
    if missing:
        (identity / missing).unlink()
    else:
        shutil.rmtree(identity)
    with socket.create_server((ADDRESS, _port(joined, "host_port"))):  # it would complain of this
        done = run(joined)
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1, done
    assert "p2pdaemon join" in done.stderr
    assert "in use" not in done.stderr


def test_with_its_identity_it_gets_as_far_as_listening(joined: Path) -> None:
    """Or the claims above would hold of a host that is broken in any way."""
    with socket.create_server((ADDRESS, _port(joined, "host_port"))):
        done = run(joined)
    assert "in use" in done.stderr, done


def _port(config: Path, key: str) -> int:
    line = next(line for line in config.read_text().splitlines() if line.startswith(key))
    return int(line.rpartition(" ")[2])
