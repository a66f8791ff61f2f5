"""Nobody gets in without certificate, own Host and no Origin; every error is one document."""

from __future__ import annotations

import ssl
from itertools import product

import httpx2
import msgspec
import trio

from p2pdeploy.messages.api import ErrorDocument
from p2pdeploy.messages.upload import PUBLISH_BYTES_MAX
from p2pdeploy.trust.streams import SecureStream, open_stream
from p2pdeploy.trust.tls import client_context, is_control_plane

ROUTES = ["/v1/time", "/v1/hosts", "/metrics", "/v1/openapi.json", "/nowhere", "/v1/releases/x"]


def error_of(answer):
    assert answer.headers["content-type"] == "application/json"
    return msgspec.json.decode(answer.content, type=ErrorDocument).error


async def test_without_a_certificate_every_route_is_closed(tracker) -> None:
    """Also to who has a password, as it was once."""
    async with stranger(tracker) as http:
        for path, header in product(ROUTES, ["", "Bearer x", "Basic YTpi", "Bearer \xff"]):
            sent = {"Authorization": header.encode("latin-1")}
            answer = await http.get(path, headers=sent)
            assert (answer.status_code, error_of(answer).code) == (401, "no-certificate"), path
        health = await http.get("/healthz")
        assert (health.status_code, health.text) == (200, "ok")


def stranger(tracker) -> httpx2.AsyncClient:
    """Knows the fleet's authority, and has nothing to show."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(tracker.identity.authority)
    url = f"https://127.0.0.1:{tracker.ports.api}"
    return httpx2.AsyncClient(base_url=url, verify=context, trust_env=False)


async def connect(tracker) -> SecureStream:
    context = client_context(tracker.identity, is_control_plane, who="the control plane")
    return await open_stream("127.0.0.1", tracker.ports.api, context)


async def test_a_web_page_gets_nothing_even_with_a_certificate(tracker) -> None:
    wrong = ("localhost", "evil.example", f"127.0.0.2:{tracker.ports.api}", "127.0.0.1")
    for path in ROUTES:
        answer = await tracker.http.get(path, headers={"Origin": "null"})
        assert (answer.status_code, error_of(answer).code) == (403, "origin")
        for host in wrong:
            answer = await tracker.http.get(path, headers={"Host": host})
            assert (answer.status_code, error_of(answer).code) == (403, "host")


async def test_two_host_headers_are_refused(tracker) -> None:
    own = f"127.0.0.1:{tracker.ports.api}"
    request = f"GET /v1/time HTTP/1.1\r\nHost: {own}\r\nHost: {own}\r\nConnection: close\r\n\r\n"
    stream = await connect(tracker)
    async with stream:
        await stream.send_all(request.encode())
        with trio.fail_after(5):
            answer = await stream.receive_some(4096)
    assert answer.split()[1] in (b"400", b"403")


async def test_every_error_is_one_document(tracker) -> None:
    for method, path, status, code in (
        ("GET", "/nowhere", 404, "no-route"),
        ("DELETE", "/v1/hosts", 405, "method-not-allowed"),
        ("GET", "/v1/hosts?limit=0", 400, "bad-request"),
        ("GET", "/v1/hosts?limit=many", 400, "bad-request"),
        ("GET", "/v1/hosts?filter=colour=red", 409, "bad-filter"),
        ("GET", "/v1/releases/hello/1.0", 404, "no-release"),
        ("GET", "/v1/releases/hello?after=9", 404, "no-release"),
        ("GET", "/v1/manifests/xyz", 409, "bad-digest"),
        ("GET", "/v1/manifests/" + "a" * 64, 404, "no-manifest"),
        ("GET", "/v1/cells/none/hosts", 404, "no-cell"),
        ("POST", "/v1/deal", 403, "forbidden"),
    ):
        answer = await tracker.http.request(method, path)
        assert (answer.status_code, error_of(answer).code) == (status, code), path


async def test_malformed_bodies_get_a_clear_answer(tracker) -> None:
    for body in (b"", b"\xc1", b"{}", b"\x93" * 1000, b"\x80", b"[" * 10_000):
        for path in ("releases/hello/1.0", "releases/hello/1.0/commit", "lab/torrents", "rollouts"):
            answer = await tracker.http.post(f"/v1/{path}", content=body)
            assert answer.status_code == 400, (path, answer.text)
            assert error_of(answer).message
        answer = await tracker.as_host("h01").post("/v1/cells/lab.web.c0/sync", content=body)
        assert (answer.status_code, error_of(answer).code) == (400, "protocol")


async def test_an_oversized_body_is_refused(tracker) -> None:
    for path, size in (
        ("/v1/lab/torrents", 300_000),
        ("/v1/deal", 300_000),
        ("/v1/cells/lab.web.c0/sync", 9 * 1024 * 1024),
    ):
        http = tracker.http if "lab" in path[:9] else tracker.as_host("h01")
        answer = await http.post(path, content=bytes(size))
        assert (answer.status_code, error_of(answer).code) == (413, "too-large"), path
    assert (await tracker.http.get("/v1/time")).status_code == 200


async def test_an_oversized_publish_is_refused_by_its_announced_length(tracker) -> None:
    head = (
        f"POST /v1/releases/hello/1.0 HTTP/1.1\r\nHost: 127.0.0.1:{tracker.ports.api}\r\n"
        f"Content-Length: {PUBLISH_BYTES_MAX + 1}\r\n\r\n"
    )
    stream = await connect(tracker)
    async with stream:
        await stream.send_all(head.encode() + b"x")
        with trio.fail_after(5):
            answer = await stream.receive_some(4096)
    assert answer.startswith(b"HTTP/1.1 413")


async def converse(tracker, *parts: bytes) -> bytes:
    """Send a request to a route that reads no body, and what comes behind it; all that is said."""
    head = f"Host: 127.0.0.1:{tracker.ports.api}\r\n"
    stream = await connect(tracker)
    said = b""
    async with stream:
        for part in parts:
            await stream.send_all(part.replace(b"HEAD", head.encode()))
        with trio.fail_after(10):
            while data := await stream.receive_some(65536):
                said += data
    return said


async def test_a_small_body_that_no_route_reads_does_not_end_the_connection(tracker) -> None:
    said = await converse(
        tracker,
        b"POST /v1/rollouts/none-1/pause HTTP/1.1\r\nHEADContent-Length: 200000\r\n\r\n",
        bytes(200_000),
        b"GET /v1/time HTTP/1.1\r\nHEADConnection: close\r\n\r\n",
    )
    assert said.startswith(b"HTTP/1.1 404")
    assert b'"now"' in said, "the next request on the connection was answered as well"


async def test_an_answer_beside_a_body_that_goes_on_says_that_the_connection_ends(tracker) -> None:
    said = await converse(
        tracker, b"POST /v1/rollouts/none-1/pause HTTP/1.1\r\nHEADContent-Length: 900000\r\n\r\nx"
    )
    assert said.startswith(b"HTTP/1.1 404")
    assert b"connection: close" in said.lower()


async def test_refusals_and_errors_are_counted(tracker) -> None:
    async with stranger(tracker) as http:
        await http.get("/v1/time")
    await tracker.http.get("/nowhere")
    text = (await tracker.http.get("/metrics")).text
    assert 'p2p_api_refusals_total{code="no-certificate"} 1.0' in text
    assert 'p2p_api_errors_total{code="no-route"} 1.0' in text
