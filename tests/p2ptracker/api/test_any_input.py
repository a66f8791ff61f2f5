"""Any request gets an answer that the API's own document describes; none makes it fail.

Schemathesis makes requests out of the OpenAPI document, right ones and wrong ones, half of them
about things that exist.  What it cannot make is bodies that are no documents at all; the second
test sends those.  The examples are the same in every run.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
import schemathesis
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from p2pdeploy.codec import encode
from p2pdeploy.messages.api import ErrorDocument
from p2pdeploy.trust.streams import open_stream
from p2pdeploy.trust.tls import IdentityFiles, client_context, is_control_plane
from p2ptracker.run import run_tasks
from tests.p2ptracker.rollout_bench import HELLO, WEB_CELL, World, open_world
from tests.p2ptracker.tracker_bench import open_http
from tests.trust_folder import host_files

pytestmark = pytest.mark.slow

EXAMPLES = 6  # of each operation, right and wrong; the whole file takes some ten seconds
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
# These need another machine: "not now" is their right answer when that is down.
ASK_A_HOST = ("/v1/hosts/{host}/services/{service}/logs", "/v1/hosts/{host}/metrics")

OF_HOSTS = ("/v1/deal", "/v1/deal/gaps", "/v1/outlines", "/v1/cells/{cell}/sync")

bounded = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@schemathesis.serializer("application/x-msgpack", "application/msgpack")
def as_msgpack(_context: Any, value: Any) -> dict[str, Any]:
    if isinstance(value, bytes):
        return {"data": value}
    try:
        return {"data": encode(value)}
    except (OverflowError, UnicodeEncodeError):  # an integer or a text that msgpack cannot say
        return {"data": json.dumps(value, default=repr).encode()}


class Api:
    """The API of a control plane in this process, called from a thread."""

    def __init__(self, world: World, port: int, document: dict[str, Any]) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self.document = document
        self.admin = world.plane.trust.paths.operator_files()
        self.host = host_files(world.folder, world.plane.inventory[0])
        self.clients = {
            files.certificate: httpx2.Client(
                base_url=self.url,
                verify=client_context(files, is_control_plane, who="the control plane"),
                trust_env=False,
                timeout=20,
            )
            for files in (self.admin, self.host)
        }
        self.answered: set[tuple[str, int]] = set()
        # What exists, by the name that the paths give it.
        self.known = {
            "service": HELLO,
            "version": "1",
            "digest": world.digests[HELLO, "1"],
            "cell": WEB_CELL,
            "host": "w1",
            "rollout": "hello-1",
            "role": "go",
        }

    def caller(self, path: str) -> IdentityFiles:
        """Somebody who may call the route, so that requests get as far as it."""
        return self.host if path in OF_HOSTS else self.admin

    def judge(self, path: str, what: object, status: int, content: bytes) -> None:
        """Every error is the documented document, and none of them is the server's fault."""
        self.answered.add((path, status))
        if status < 400:
            return
        assert status < 500 or (status == 503 and path in ASK_A_HOST), (what, content)
        error = msgspec.json.decode(content, type=ErrorDocument, strict=True).error
        assert error.code not in ("", "internal"), (what, content)
        assert error.message, (what, content)
        assert b"Traceback" not in content, (what, content)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncGenerator[Api]:
    """With two releases and one rollout that goes on."""
    async with open_world(tmp_path / "fleet") as world, trio.open_nursery() as nursery:
        await world.apply("1")
        ports = await nursery.start(run_tasks, world.plane)
        async with open_http(world.plane.trust.paths.operator_files(), ports.api) as http:
            document = (await http.get("/v1/openapi.json")).json()
        running = Api(world, ports.api, document)
        yield running
        for client in running.clients.values():
            client.close()
        nursery.cancel_scope.cancel()


def operations_of(api: Api) -> list[APIOperation[Any, Any, Any, Any]]:
    schema = schemathesis.openapi.from_dict(api.document)
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 20
    return operations


async def test_every_answer_is_one_that_the_document_describes(api: Api) -> None:
    def drive() -> None:
        for operation in operations_of(api):
            try_operation(api, operation.as_strategy(GenerationMode.POSITIVE))

    await trio.to_thread.run_sync(drive)
    done = {path for path, status in api.answered if status < 300}
    assert len(done) >= 15, "too few requests got as far as an answer"


async def test_wrong_requests_are_refused_by_the_documented_error(api: Api) -> None:
    tried: list[str] = []

    def drive() -> None:
        for operation in operations_of(api):
            try:
                try_operation(api, operation.as_strategy(GenerationMode.NEGATIVE))
            except Unsatisfiable:  # it takes nothing that could be wrong
                continue
            tried.append(operation.path)

    await trio.to_thread.run_sync(drive)
    assert len(tried) >= 12, tried
    assert {400, 404} <= {status for _, status in api.answered}


def _pair(files: IdentityFiles) -> tuple[str, str]:
    return str(files.certificate), str(files.key)


def try_operation(api: Api, cases: st.SearchStrategy[Case]) -> None:
    @bounded
    @given(case=cases, existing=st.booleans())
    def one(case: Case, existing: bool) -> None:
        if existing:
            case.path_parameters = {
                name: api.known.get(name, value) for name, value in case.path_parameters.items()
            }
        files = api.caller(case.operation.path)
        answer = case.call(
            base_url=api.url, verify=str(files.authority), cert=_pair(files), timeout=20
        )
        api.judge(case.operation.path, case.as_curl_command(), answer.status_code, answer.content)
        case.validate_response(answer, checks=CHECKS)

    one()


MEDIA_TYPES = ("application/json", "application/msgpack", "text/plain", "/", "")
ODD_BODIES = (
    b"",
    b"null",
    b"[]",
    b"\xff\xfe",
    b'"\xff"',
    b'{"service":"\xff"}',
    b'{"service":"\\ud800"}',
    b'{"service":1e999}',
    b'{"hosts":[1' + b"0" * 5_000 + b"]}",
    b"[" * 50_000,
    b'{"a":' * 50_000,
    b"\x91" * 50_000,
    b"\x81\xa1a" * 50_000,
    b"\xdd\xff\xff\xff\xff",  # msgpack: an array of 2**32 - 1 items that do not come
    b"\xc1",  # msgpack: never used
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner),
)
BODIES = st.binary(max_size=200) | VALUES.map(msgspec.json.encode)


async def test_bodies_that_are_no_documents_are_refused(api: Api) -> None:
    routes = [path for path, operations in api.document["paths"].items() if "post" in operations]
    assert len(routes) >= 8

    def drive() -> None:
        for path in routes:
            for body, media_type in itertools.product(ODD_BODIES, MEDIA_TYPES):
                post(api, path, body, media_type)
            try_bodies(api, path)

    await trio.to_thread.run_sync(drive)
    assert {path for path, _ in api.answered} == set(routes)


def try_bodies(api: Api, path: str) -> None:
    @bounded
    @given(body=BODIES, media_type=st.sampled_from(MEDIA_TYPES))
    def one(body: bytes, media_type: str) -> None:
        post(api, path, body, media_type)

    one()


def post(api: Api, path: str, body: bytes, media_type: str) -> None:
    target = path.format(**api.known, verb="pause")
    http = api.clients[api.caller(path).certificate]
    answer = http.post(target, content=body, headers={"Content-Type": media_type})
    api.judge(path, (target, media_type, body[:99]), answer.status_code, answer.content)


@pytest.mark.parametrize(
    "request_line", [b"GET /v1/%ff HTTP/1.1", b"GET /v1/\x80 HTTP/1.1", b"BREW /v1/time HTTP/1.1"]
)
async def test_request_lines_that_nobody_sends_get_an_answer(api: Api, request_line: bytes) -> None:
    address = api.url.removeprefix("https://")
    context = client_context(api.admin, is_control_plane, who="the control plane")
    stream = await open_stream("127.0.0.1", int(address.rpartition(":")[2]), context)
    async with stream:
        head = f"\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        await stream.send_all(request_line + head.encode())
        answer = b""
        with trio.fail_after(10):
            while data := await stream.receive_some(4096):
                answer += data
    assert answer.split(b" ")[1][:1] == b"4", answer
