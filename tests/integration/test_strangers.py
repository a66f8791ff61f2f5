"""Garbage, strangers and web pages: dropped or refused, counted, and felt by nobody."""

from __future__ import annotations

import random
import re
import shutil
import socket
import ssl
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from p2pctl.lab.layout import ANNOUNCE_PORT, API_PORT, UPLOAD_PORT, read_hosts
from p2pdeploy.ids import HostName
from p2pdeploy.trust.host_identity import load_identity
from p2pdeploy.trust.tls import client_context, is_control_plane
from p2ptracker.authority.create import create_trust
from tests.integration.fleet import CONTROL_PLANE, Fleet, running_fleet
from tests.integration.payloads import write_payload
from tests.integration.waiting import ask, running, wait_for
from tests.trust_folder import enrol

pytestmark = pytest.mark.processes

GARBAGE_SEED = 20_260
DATAGRAMS = 200
FRAME_OF_4_GIB = b"\xff\xff\xff\xff"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three fault domains of one host each, ``web`` 1 deployed."""
    folder = tmp_path_factory.mktemp("fleet")
    with running_fleet(folder / "dir", 3, 3) as fleet:
        fleet.publish("web", "1", write_payload(folder / "web", "web"))
        done = fleet.roll_out("web", "1")
        assert [d["total"] for d in done["fault_domains"]] == [1, 1, 1]
        yield fleet


@pytest.fixture(autouse=True)
def _unharmed(fleet: Fleet) -> Iterator[None]:
    """Every test ends with the same processes, all alive, and services that never stopped."""
    programs, services = fleet.running(), fleet.all_serve("web")
    yield
    assert fleet.running() == programs
    assert fleet.all_serve("web") == services
    assert all(host["alive"] for host in fleet.hosts().values())


def _garbage() -> list[bytes]:
    rng = random.Random(GARBAGE_SEED)
    sizes = [1, 3, 17, 64, 600, 1400, 9000]
    return [rng.randbytes(rng.choice(sizes)) for _ in range(DATAGRAMS)]


def _say(address: str, port: int, data: bytes) -> bytes:
    """Send *data* over TCP, end our side, return what comes back until the other side ends."""
    answer = bytearray()
    with socket.create_connection((address, port), timeout=20) as stream:
        try:
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
            while part := stream.recv(65536):
                answer += part
        except TimeoutError:
            raise
        except OSError:
            pass  # cut off: it has heard enough
    return bytes(answer)


def _is_alert(answer: bytes) -> bool:
    """Whether it is nothing but TLS saying that this is no TLS (RFC 8446, section 6)."""
    return answer[:1] == b"\x15" and len(answer) == 7


def _counted(metrics: str, name: str, **labels: str) -> float:
    """The sum of a counter's samples that carry *labels*."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    lines = [line for line in metrics.splitlines() if re.match(rf"{name}(_total)?\{{", line)]
    return sum(float(line.split()[-1]) for line in lines if all(w in line for w in wanted))


def _api_metrics(fleet: Fleet) -> str:
    status, body = fleet.api("GET", "/metrics")
    assert status == 200
    return body.decode()


def test_raw_datagrams_to_gossip_are_dropped_and_counted(fleet: Fleet) -> None:
    entry = fleet.file()["hosts"]["h01"]
    before = _counted(fleet.host_metrics("h01"), "p2pdaemon_gossip_dropped")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for data in _garbage():
            stranger.sendto(data, (entry["address"], entry["gossip_port"]))

    # A socket's buffer may overflow, so not every one of them must arrive.
    wait_for(
        lambda: _counted(fleet.host_metrics("h01"), "p2pdaemon_gossip_dropped"),
        f"more drops are counted than {before}",
        until=lambda now: now >= before + DATAGRAMS / 4,
    )


@pytest.mark.parametrize("port", ["gossip_port", "host_port", "swarm_port"])
def test_garbage_on_a_hosts_streams_gets_no_answer(fleet: Fleet, port: str) -> None:
    entry = fleet.file()["hosts"]["h02"]
    before = fleet.host_metrics("h02")
    for data in (*_garbage()[:20], FRAME_OF_4_GIB, b"GET / HTTP/1.1\r\n\r\n"):
        answer = _say(entry["address"], entry[port], data)
        assert answer == b"" or _is_alert(answer), answer
    after = fleet.host_metrics("h02")
    name, kind = {
        "gossip_port": ("p2pdaemon_gossip_dropped", "stream"),
        "host_port": ("p2pdaemon_failures", "host-api"),
        "swarm_port": ("", ""),  # libtorrent's own; it counts nothing for us
    }[port]
    if name:
        assert _counted(after, name, kind=kind) > _counted(before, name, kind=kind)


@pytest.mark.parametrize("port", [API_PORT, ANNOUNCE_PORT, UPLOAD_PORT])
def test_garbage_on_the_control_planes_streams_is_survived(fleet: Fleet, port: int) -> None:
    address = fleet.netloc().partition(":")[0]
    before = _counted(_api_metrics(fleet), "p2p_announce_requests", outcome="stranger")
    for data in (*_garbage()[:20], FRAME_OF_4_GIB, b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100_000):
        answer = _say(address, port, data)
        assert b"Traceback" not in answer
        assert not re.match(rb"HTTP/1.1 (2|5)", answer), answer
    if port == ANNOUNCE_PORT:
        after = _counted(_api_metrics(fleet), "p2p_announce_requests", outcome="stranger")
        assert after > before


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/rollouts", b"{", 400, "bad-request"),
        ("POST", "/v1/rollouts", b'{"service": 1, "version": "1"}', 400, "bad-request"),
        ("POST", "/v1/rollouts", b'{"service": "web", "version": "1", "x": 1}', 400, "bad-request"),
        ("POST", "/v1/rollouts", b"[" * 100_000, 400, "bad-request"),
        ("POST", "/v1/releases/web/2", b"\xc1\xc1", 400, None),
        ("GET", "/v1/hosts?limit=minus", None, 400, "bad-request"),
        ("GET", "/v1/nothing", None, 404, "no-route"),
        ("DELETE", "/v1/hosts", None, 405, "method-not-allowed"),
    ],
)
def test_a_malformed_request_is_one_clear_error_and_counted(
    fleet: Fleet, method: str, path: str, body: bytes | None, status: int, code: str | None
) -> None:
    before = _counted(_api_metrics(fleet), "p2p_api_errors")
    kind = "application/msgpack" if "releases" in path else "application/json"
    got, answer = fleet.api(method, path, body=body, headers={"Content-Type": kind})
    assert got == status, answer
    assert b"Traceback" not in answer
    if code:
        assert f'"code":"{code}"'.encode() in answer
    assert _counted(_api_metrics(fleet), "p2p_api_errors") == before + 1


def test_a_client_that_leaves_in_the_middle_is_no_crash(fleet: Fleet) -> None:
    before = _counted(_api_metrics(fleet), "p2p_api_errors", code="client-left")
    netloc = fleet.netloc()
    address, _, port = netloc.partition(":")
    head = f"POST /v1/rollouts HTTP/1.1\r\nHost: {netloc}\r\nContent-Length: 99\r\n\r\n{{"
    with (
        socket.create_connection((address, int(port)), timeout=20) as plain,
        fleet.tls().wrap_socket(plain) as stream,
    ):
        stream.sendall(head.encode())
    wait_for(
        lambda: _counted(_api_metrics(fleet), "p2p_api_errors", code="client-left"),
        f"one more is counted than {before}",
        until=lambda now: now == before + 1,
    )


def test_a_body_that_is_too_large_is_refused_before_it_comes(fleet: Fleet) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": "1000000"}
    status, answer = fleet.api("POST", "/v1/rollouts", headers=headers)
    assert (status, b'"code":"too-large"' in answer) == (413, True), answer


@pytest.mark.parametrize(
    ("headers", "code"),
    [({"Origin": "https://example.com"}, "origin"), ({"Host": "example.com"}, "host")],
)
def test_a_web_page_is_refused_and_counted(
    fleet: Fleet, headers: dict[str, str], code: str
) -> None:
    before = _counted(_api_metrics(fleet), "p2p_api_refusals", code=code)
    got, body = fleet.api("GET", "/v1/hosts", headers=headers)
    assert (got, f'"code":"{code}"'.encode() in body) == (403, True), body
    assert _counted(_api_metrics(fleet), "p2p_api_refusals", code=code) == before + 1


def test_a_client_without_a_certificate_is_refused_and_counted(fleet: Fleet) -> None:
    before = _counted(_api_metrics(fleet), "p2p_api_refusals", code="no-certificate")
    bare = ssl.create_default_context(cafile=str(fleet.folder / "ca" / "fleet.pem"))
    bare.check_hostname = False
    got, body = ask(fleet.netloc(), "GET", "/v1/hosts", context=bare)
    assert (got, b'"code":"no-certificate"' in body) == (401, True), body
    assert _counted(_api_metrics(fleet), "p2p_api_refusals", code="no-certificate") == before + 1


@pytest.mark.parametrize(
    "query",
    [
        "",
        "info_hash=short&peer_id=x&port=1",
        f"info_hash={'%00' * 20}&peer_id={'a' * 20}&port=99999&left=0",
        f"info_hash={'%00' * 20}&peer_id={'a' * 20}&port=6881&left=-1",
        f"info_hash={'%00' * 20}&peer_id={'a' * 20}&port=6881&left=0",
        "%zz&&&=&" * 50,
    ],
)
def test_a_malformed_announce_is_a_failure_reason_and_counted(fleet: Fleet, query: str) -> None:
    url = urlsplit(fleet.file()["announce"])
    assert url.scheme == "https"
    h01 = load_identity(fleet.folder / "hosts" / "h01" / "identity", HostName("h01"))
    context = client_context(h01.files, is_control_plane, who="the control plane")
    before = _counted(_api_metrics(fleet), "p2p_announce_requests")
    status, body = ask(url.netloc, "GET", f"{url.path}?{query}", context=context)
    assert (status >= 400) or body.startswith(b"d14:failure reason"), (status, body)
    assert _counted(_api_metrics(fleet), "p2p_announce_requests") == before + 1


def test_an_operator_of_another_fleet_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    other = Fleet(tmp_path / "other")
    create_trust(other.folder, "other", now=datetime.now(UTC))
    shutil.copy(fleet.folder / "fleet.json", other.folder)
    assert other.refused("hosts")["code"] == "not-the-control-plane"  # to this operator
    shutil.copy(fleet.folder / "ca" / "fleet.pem", other.folder / "ca")
    assert other.refused("hosts")["code"] == "certificate-refused"
    assert other.refused("publish", "web", "9", write_payload(tmp_path / "p", "web"))
    assert fleet.refused("release", "show", "web", "9")["code"] == "no-release"


def test_a_daemon_of_another_fleet_never_joins(fleet: Fleet, tmp_path: Path) -> None:
    text = (fleet.folder / "hosts" / "h01" / "daemon.toml").read_text()
    host = next(host for host in read_hosts(fleet.folder) if host.name == "h01")
    stranger = msgspec.structs.replace(
        host, name=HostName("h99"), address=f"{host.address.rpartition('.')[0]}.200"
    )
    text = text.replace(f'"{host.address}"', f'"{stranger.address}"').replace('"h01"', '"h99"')
    (tmp_path / "daemon.toml").write_text(text + f'log_path = "{tmp_path}/log"\n')
    create_trust(tmp_path / "other", "other", now=datetime.now(UTC))
    enrol(tmp_path / "other", stranger, tmp_path / "identity")
    shutil.copy(fleet.folder / "ca" / "fleet.pem", tmp_path / "identity" / "fleet-ca.pem")
    words = [sys.executable, "-m", "p2pdaemon", "run", "--config", str(tmp_path / "daemon.toml")]
    with running(words) as daemon:
        wait_for(
            lambda: (tmp_path / "log").read_text() if (tmp_path / "log").exists() else None,
            "the control plane has turned it away",
            until=lambda log: "control plane not reachable" in log,
        )
        assert daemon.poll() is None
        daemon.terminate()
        _, errors = daemon.communicate(timeout=30)
    assert daemon.returncode == 0
    assert b"Traceback" not in errors
    assert set(fleet.hosts()) == {"h01", "h02", "h03"}
    alive = _counted(fleet.host_metrics("h01"), "p2pdaemon_members", kind="alive")
    assert alive <= 3


def test_the_fleet_still_does_its_job(fleet: Fleet, tmp_path: Path) -> None:
    fleet.publish("after", "1", write_payload(tmp_path / "after", "after"))
    fleet.roll_out("after", "1")
    log = (fleet.folder / "logs" / f"{CONTROL_PLANE}.log").read_text()
    assert "api-route-crashed" not in log
