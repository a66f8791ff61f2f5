"""``rollout status --timeout`` against a control plane that hangs."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def hanging_fleet(tmp_path: Path) -> Iterator[Path]:
    """As a stopped process: the kernel accepts connections, nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (tmp_path / "token").touch(mode=0o600)
        (tmp_path / "token").write_text("secret\n")
        fleet = {"api": f"http://127.0.0.1:{port}", "announce": "", "hosts": {}}
        (tmp_path / "fleet.json").write_text(json.dumps(fleet))
        yield tmp_path


@pytest.mark.parametrize("name", ["latest", "r1"])
def test_the_timeout_is_kept_when_the_control_plane_hangs(p2pctl, hanging_fleet, name) -> None:
    started = time.monotonic()
    done = p2pctl("rollout", "status", name, "--timeout", "300ms", "--dir", hanging_fleet)
    assert time.monotonic() - started < 3.0  # far below the 15 s that any other call may take
    assert done.code == 2
    assert "did not answer in time" in done.err


def test_a_hanging_control_plane_is_an_error_document_with_json(p2pctl, hanging_fleet) -> None:
    status = ("rollout", "status", "r1", "--timeout", "300ms", "-o", "json")
    done = p2pctl(*status, "--dir", hanging_fleet)
    assert (done.code, done.document()["error"]["code"]) == (2, "control-plane-down")
