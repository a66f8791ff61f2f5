"""``rollout status --timeout`` against a control plane that hangs."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest

from p2pdeploy.messages.api import RolloutState, RolloutView
from p2pdeploy.trust.tls import server_context
from tests.trust_folder import add_trust, control_plane_files


@pytest.fixture
def hanging_fleet(tmp_path: Path) -> Iterator[Path]:
    """As a stopped process: the kernel accepts connections, nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        add_trust(tmp_path)
        fleet = {"api": f"https://127.0.0.1:{port}", "announce": "", "hosts": {}}
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
    assert (done.code, done.error_code) == (2, "control-plane-down")


@pytest.fixture
def fleet_with_rollout(tmp_path: Path, state: RolloutState) -> Iterator[tuple[Path, list[str]]]:
    """A control plane that answers everything with one rollout, and the paths it was asked."""
    asked: list[str] = []
    rollout = RolloutView(
        id="hello-1",
        service="hello",
        version="1.0.0",
        baseline="",
        state=state,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        finished_at=None,
        fault_domains=[],
        reasons=[],
    )

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = msgspec.json.encode(rollout)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    add_trust(tmp_path)
    context = server_context(control_plane_files(tmp_path), demands_certificate=True)
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        answering = threading.Thread(target=server.serve_forever, args=(0.01,))
        answering.start()
        fleet = {"api": f"https://127.0.0.1:{server.server_port}", "announce": "", "hosts": {}}
        (tmp_path / "fleet.json").write_text(json.dumps(fleet))
        try:
            yield tmp_path, asked
        finally:
            server.shutdown()
            answering.join()


@pytest.mark.parametrize(("state", "code"), [("running", 2), ("complete", 0), ("failed", 1)])
def test_a_timeout_of_nothing_takes_one_look_and_answers_by_it(
    p2pctl, fleet_with_rollout: tuple[Path, list[str]], state: RolloutState, code: int
) -> None:
    folder, asked = fleet_with_rollout
    status = ("rollout", "status", "hello-1", "--timeout", "0s", "-o", "json", "--dir", folder)
    done = p2pctl(*status)
    assert (done.code, done.document()["state"]) == (code, state)
    assert asked == ["/v1/rollouts/hello-1"]
    assert ("still running after 0 s" in done.err) == (code == 2)
