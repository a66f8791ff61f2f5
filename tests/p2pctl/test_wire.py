"""``p2pctl`` talks to the control plane of its fleet and to nobody else."""

from __future__ import annotations

import datetime as dt
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest

from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.topology import Host
from p2pdeploy.trust.tls import IdentityFiles, server_context
from p2ptracker.authority.create import create_trust
from tests.trust_folder import add_trust, control_plane_files, host_files

H1 = Host(
    name=HostName("h1"),
    address="127.0.0.1",
    environment="lab",
    machine_function="web",
    cell=CellId("lab.web.c0"),
    fault_domain=FaultDomain("fd0"),
    gossip_port=7946,
    swarm_port=6881,
    host_port=7947,
)


class Answer(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(fleet: Path, context: ssl.SSLContext | None) -> Iterator[list[str]]:
    """What answers at the fleet's API, and the paths that it was told."""
    asked: list[str] = []
    handler = type("Told", (Answer,), {"asked": asked})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign] a handshake that fails
        if context is not None:
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        document = {"api": f"https://127.0.0.1:{server.server_port}", "announce": "", "hosts": {}}
        (fleet / "fleet.json").write_text(json.dumps(document))
        answering = threading.Thread(target=server.serve_forever, args=(0.01,))
        answering.start()
        yield asked
        server.shutdown()
        answering.join()


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    folder = tmp_path / "fleet"
    add_trust(folder)
    return folder


def foreign(tmp_path: Path) -> Path:
    """Another fleet, which calls itself like ours."""
    folder = tmp_path / "foreign"
    if not folder.exists():
        create_trust(folder, "lab", now=dt.datetime.now(dt.UTC))
    return folder


def listening(files: IdentityFiles) -> ssl.SSLContext:
    return server_context(files, demands_certificate=True)


def told(p2pctl: Callable, fleet: Path) -> str:
    """The code of the error, which must be one line."""
    done = p2pctl("hosts", "--dir", fleet)
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1), done
    return p2pctl("hosts", "-o", "json", "--dir", fleet).error_code


def test_the_control_plane_of_the_fleet_is_heard(p2pctl, fleet: Path) -> None:
    with serving(fleet, listening(control_plane_files(fleet))) as asked:
        assert p2pctl("hosts", "-o", "json", "--dir", fleet).document() == []
    assert asked == ["/v1/hosts"]


def test_a_host_that_answers_as_the_control_plane_is_told_nothing(p2pctl, fleet: Path) -> None:
    with serving(fleet, listening(host_files(fleet, H1))) as asked:
        assert told(p2pctl, fleet) == "not-the-control-plane"
    assert asked == []


def test_another_fleets_control_plane_is_told_nothing(p2pctl, fleet: Path, tmp_path: Path) -> None:
    with serving(fleet, listening(control_plane_files(foreign(tmp_path)))) as asked:
        assert told(p2pctl, fleet) == "not-the-control-plane"
    assert asked == []


def test_what_speaks_no_tls_is_told_nothing(p2pctl, fleet: Path) -> None:
    with serving(fleet, None) as asked:
        assert told(p2pctl, fleet) in ("certificate-refused", "control-plane-hung-up")
    assert asked == []


def test_a_refused_certificate_is_told_as_one(p2pctl, fleet: Path, tmp_path: Path) -> None:
    files = msgspec.structs.replace(
        control_plane_files(fleet), authority=foreign(tmp_path) / "ca" / "fleet.pem"
    )
    with serving(fleet, listening(files)) as asked:
        assert told(p2pctl, fleet) in ("certificate-refused", "control-plane-hung-up")
    assert asked == []


def test_a_fleet_without_an_operators_key_is_a_configuration_error(p2pctl, fleet: Path) -> None:
    (fleet / "fleet.json").write_text('{"api":"https://127.0.0.1:1","announce":"","hosts":{}}')
    (fleet / "operator" / "operator.pem").unlink()
    done = p2pctl("hosts", "--dir", fleet)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "operator.pem" in done.err
