"""What a running daemon has loaded: every MiB of it is spent on each host of the fleet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import p2pdaemon
import p2pdeploy
from p2pdaemon.config import DaemonConfig
from tests.daemon_toml import write_daemon_toml
from tests.p2pdaemon.conftest import host_of
from tests.trust_folder import add_trust, enrol

pytestmark = pytest.mark.processes

# Joining and renewing need some of it, and are a short process of their own.  Of python-tuf, which
# judges releases in the daemon, nothing is to be loaded but what judges (ADR 0013).
TOO_DEAR = {"asyncio", "cryptography.x509", "rich", "structlog", "urllib3", "zeroconf"}
MODULES = "modules: "
PROGRAM = f"""\
import atexit, json, sys
from p2pdaemon.__main__ import main
atexit.register(lambda: print({MODULES!r} + json.dumps(list(sys.modules)), file=sys.stderr))
main(["run", "--config", sys.argv[1]])
"""


@pytest.fixture
def config_path(config: DaemonConfig, tmp_path: Path) -> Path:
    """The configuration of a host that has joined."""
    add_trust(tmp_path / "fleet")
    enrol(tmp_path / "fleet", host_of(config), config.identity_dir)
    return write_daemon_toml(tmp_path, config)


def test_a_running_daemon_has_not_loaded_what_costs_memory_and_is_not_needed_to_run(
    config_path: Path,
) -> None:
    folders = [str(Path(package.__path__[0]).parent) for package in (p2pdeploy, p2pdaemon)]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, config_path],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
    ) as daemon:
        assert daemon.stderr is not None
        said: list[str] = []
        for line in daemon.stderr:
            said.append(line)
            if "daemon runs" in line:
                daemon.send_signal(signal.SIGTERM)
    assert daemon.returncode == 0, said
    [modules] = [line.removeprefix(MODULES) for line in said if line.startswith(MODULES)]
    loaded = set(json.loads(modules))
    assert "p2pdaemon.run" in loaded
    assert loaded & TOO_DEAR == set()
