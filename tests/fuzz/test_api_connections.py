"""No bytes of somebody without a certificate end a connection of the API otherwise than in order.

Whole requests are glued together and changed; the server is the real one, its connections too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import trio

from tests.fuzz.mutations import mutated
from tests.p2ptracker.api.raw_requests import KILLERS, WELL_FORMED, answer_to, crashed
from tests.p2ptracker.api.raw_requests import stranger_context as context_of
from tests.p2ptracker.tracker_bench import Tracker, run_tracker
from tests.trust_folder import add_trust

COUNTS = [200, pytest.param(10_000, marks=pytest.mark.soak)]
SAMPLES = (*KILLERS.values(), *WELL_FORMED.values())
PIECES = (
    *(b"\r\n", b"\r\n\r\n", b"\n", b" ", b":", b"\x00", b"\xff", b"\x85", b"0\r\n\r\n", b"/%ff%00"),
    *(b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n", b"HTTP2-Settings: AAMA\r\n", b"PRI * HTTP/2"),
    *(b"Connection: close\r\n", b"Connection: keep-alive, Upgrade\r\n", b"HTTP/1.0", b"HTTP/9.9"),
    *(b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: " + b"9" * 5_000),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Expect: 100-continue\r\n",
    ),
    *(b"HEAD ", b"OPTIONS ", b"CONNECT ", b"g\xc3\xa9t ", b"*", b"http://[::1", b"?" * 200, b"//"),
    *(b"X: " + b"a" * 70_000 + b"\r\n", b"ffffffffffffffffff\r\n", b";=\r\n", b"x:\r\n y\r\n"),
)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncGenerator[Tracker]:
    folder = tmp_path / "fleet"
    add_trust(folder)
    (folder / "tracker.toml").write_text(
        'address = "127.0.0.1"\napi_port = 0\nannounce_port = 0\nupload_port = 0\n'
    )
    (folder / "inventory.json").write_text("[]")
    async with run_tracker(folder) as running:
        yield running


def request_of(seed: int) -> bytes:
    rng = Random(f"api/{seed}")
    said = b"".join(rng.choices(SAMPLES, k=rng.choice((1, 1, 2))))
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        lines = [at for at in range(len(said)) if said[at : at + 1] in b" \n"] or [0]
        at = rng.choice(lines) + 1
        said = said[:at] + rng.choice(PIECES) + said[at:]
    return mutated((said,), "text", rng) if rng.random() < 0.5 else said


@pytest.mark.parametrize("count", COUNTS, ids=["sample", "soak"])
async def test_no_bytes_of_a_stranger_crash_a_connection(count: int, api: Tracker) -> None:
    context, answered = context_of(api), 0
    for seed in range(count):
        answer = await answer_to(api, request_of(seed), context)
        answered += answer.startswith(b"HTTP/1.1 ")
        assert crashed(api) == 0, f"seed {seed}, or the one before"
    assert answered > count / 2
    assert (await api.http.get("/v1/time")).status_code == 200


async def test_no_bytes_instead_of_a_handshake_crash_a_connection(api: Tracker) -> None:
    for seed in range(100):
        stream = await trio.open_tcp_stream("127.0.0.1", api.ports.api)
        async with stream:
            with trio.fail_after(5), suppress(trio.BrokenResourceError):
                await stream.send_all(mutated(HELLOS, "binary", Random(f"hello/{seed}")))
                await stream.send_eof()
                while await stream.receive_some(4_096):
                    pass
        assert crashed(api) == 0, f"seed {seed}, or the one before"
    assert (await api.http.get("/v1/time")).status_code == 200


# A ClientHello of TLS 1.2 with no extensions, one that is cut off, and plain HTTP.
_HELLO = (
    b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03" + bytes(32) + b"\x00\x00\x02\x13\x01\x01\x00"
)
HELLOS = (_HELLO, _HELLO[:20], b"GET / HTTP/1.1\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28")
