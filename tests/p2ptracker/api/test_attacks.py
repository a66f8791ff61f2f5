"""Attacks on the API over real connections: what a certificate opens, and what it does not."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import httpx2
import msgspec
import pytest
import trio

from p2pdeploy.codec import encode
from p2pdeploy.ids import CellId, Digest, HostName
from p2pdeploy.messages.deal import DealRequest
from p2pdeploy.trust.certificates import issue_leaf, key_to_pem, new_key, signing_request
from p2pdeploy.trust.identity import HostId
from p2pdeploy.trust.private_files import write_private
from p2pdeploy.trust.tls import IdentityFiles
from p2ptracker.authority.create import create_trust
from p2ptracker.authority.folder import TrustPaths, open_trust
from tests.p2ptracker.tracker_bench import code_of, open_http
from tests.trust_folder import operator_files

CELL = CellId("lab.web.c0")


async def gets_no_answer(tracker, files: IdentityFiles) -> None:
    async with open_http(files, tracker.ports.api) as http:
        with pytest.raises(httpx2.HTTPError):
            await http.get("/v1/time")
    assert (await tracker.http.get("/v1/time")).status_code == 200, "others are still served"


async def test_another_fleets_certificate_gets_no_answer(tracker, tmp_path: Path) -> None:
    """Also when that fleet calls itself like ours."""
    create_trust(tmp_path / "foreign", "lab", now=dt.datetime.now(dt.UTC))
    foreign = TrustPaths(tmp_path / "foreign").operator_files()
    disguised = msgspec.structs.replace(foreign, authority=tracker.identity.authority)
    await gets_no_answer(tracker, disguised)


async def test_a_certificate_of_the_swarm_ca_gets_no_answer(tracker) -> None:
    """It is on every host and opens swarms; here it would be a host of any name."""
    trust, key = open_trust(tracker.folder), new_key()
    path = tracker.folder / "stolen.pem"
    pem = issue_leaf(
        trust.swarm_ca,
        signing_request(key),
        HostId("lab", "lab", "web", HostName("h01")),
        addresses=(),
        lifetime=dt.timedelta(hours=1),
        now=dt.datetime.now(dt.UTC),
    )
    write_private(path, key_to_pem(key) + pem)
    files = IdentityFiles(certificate=path, key=path, authority=tracker.identity.authority)
    await gets_no_answer(tracker, files)


async def test_a_hosts_certificate_opens_no_route_of_operators(tracker) -> None:
    http = tracker.as_host("h01")
    assert (await http.get("/v1/time")).status_code == 200
    for method, path in (
        ("GET", "/v1/hosts"),
        ("GET", "/v1/audit"),
        ("POST", "/v1/rollouts"),
        ("POST", "/v1/releases/hello/9"),
        ("POST", "/v1/enrolment/tokens"),
    ):
        assert code_of(await http.request(method, path)) == (403, "forbidden"), path


async def test_a_host_deals_and_syncs_as_itself_alone(tracker) -> None:
    request = DealRequest(
        cell=CELL, manifest_digest=Digest("a" * 64), host=HostName("h02"), have=b""
    )
    answer = await tracker.as_host("h01").post("/v1/deal", content=encode(request))
    assert code_of(answer) == (403, "not-your-host")
    answer = await tracker.as_host("h02").post("/v1/deal", content=encode(request))
    assert code_of(answer) == (404, "no-manifest")


async def test_roles_are_those_of_the_certificate(tracker) -> None:
    viewer = operator_files(tracker.folder, "eve", "viewer")
    other = operator_files(tracker.folder, "bob", "publisher:api")
    for files in (viewer, other):
        async with open_http(files, tracker.ports.api) as http:
            assert (await http.get("/v1/hosts")).status_code == 200
            assert code_of(await http.post("/v1/releases/hello/9")) == (403, "forbidden")


async def test_tls_below_1_3_gets_no_answer(tracker) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(tracker.identity.authority)
    context.load_cert_chain(tracker.identity.certificate, tracker.identity.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    url = f"https://127.0.0.1:{tracker.ports.api}"
    async with httpx2.AsyncClient(base_url=url, verify=context, trust_env=False) as http:
        with pytest.raises(httpx2.HTTPError):
            await http.get("/healthz")


async def test_plain_http_gets_no_answer(tracker) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", tracker.ports.api)
    async with stream:
        await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.fail_after(10):
            said = b""
            while data := await stream.receive_some(4096):
                said += data
    assert b"HTTP" not in said
