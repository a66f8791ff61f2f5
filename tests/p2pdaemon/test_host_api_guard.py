"""Who asks a daemon: strangers, the slow and one too many get no answer, and are counted."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import structlog
import trio

from p2pdaemon import host_api
from p2pdaemon.host_api import STREAMS_MAX, HostApi
from p2pdeploy.codec import encode, frame
from p2pdeploy.errors import NotFoundError, RefusedError, UnavailableError
from p2pdeploy.host_client import HostAddress, ask_logs, ask_status, ask_why
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.host import (
    HOST_REQUEST_BYTES_MAX,
    HostSeal,
    LogsRequest,
    StatusRequest,
    WhyRequest,
)

HELLO = ServiceName("hello")
TOKEN = "t" * 43
PORT = 7947


@pytest.fixture
async def reporter(config, store, nursery):
    """Of a host that has never had a service."""
    silent = SimpleNamespace(requests_dropped=0, why=lambda _: None, attestation=lambda _: None)
    await nursery.start(HostApi(silent, store, HostSeal(TOKEN)).serve, config.address, PORT)
    return silent


@pytest.fixture
def host(config) -> HostAddress:
    return HostAddress(config.address, PORT, token=TOKEN)


async def is_cut_off(address: str, data: bytes) -> bool:
    """Send *data*; whether the stream ends without an answer."""
    with trio.fail_after(10):
        async with await trio.open_tcp_stream(address, PORT) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(data)
                return await stream.receive_some() == b""
    return True


async def is_answered(host: HostAddress) -> bool:
    try:
        await ask_why(host, WhyRequest(service=HELLO))
    except NotFoundError:
        return True
    except UnavailableError:
        return False
    return False


async def test_a_request_under_another_key_is_not_answered(reporter, config):
    with pytest.raises(UnavailableError):
        await ask_status(HostAddress(config.address, PORT, token="other"))
    assert reporter.requests_dropped == 1


async def test_a_request_that_was_changed_on_its_way_is_not_answered(reporter, config):
    sealed = bytearray(HostSeal(TOKEN).seal_request(encode(WhyRequest(service=HELLO))))
    sealed[-1] ^= 1
    assert await is_cut_off(config.address, frame(bytes(sealed)))
    assert reporter.requests_dropped == 1


async def test_a_reply_played_back_as_a_request_is_not_answered(reporter, config):
    sealed = HostSeal(TOKEN).seal_reply(encode(StatusRequest()))
    assert await is_cut_off(config.address, frame(sealed))
    assert reporter.requests_dropped == 1


async def test_a_frame_beyond_the_limit_is_refused_by_its_length_alone(reporter, config):
    head = frame(bytes(HOST_REQUEST_BYTES_MAX + 1))[:8]
    assert await is_cut_off(config.address, head)
    assert reporter.requests_dropped == 1


async def test_what_is_signed_and_no_request_is_not_answered(reporter, config):
    for nonsense in (b"", b"\xc1", encode(["why?"])):
        sealed = HostSeal(TOKEN).seal_request(nonsense)
        assert await is_cut_off(config.address, frame(sealed))
    assert reporter.requests_dropped == 3


async def test_a_stream_that_says_nothing_is_cut_off(reporter, config, monkeypatch):
    monkeypatch.setattr(host_api, "STREAM_TIMEOUT_S", 0.05)
    assert await is_cut_off(config.address, b"\x00")
    assert reporter.requests_dropped == 1


async def test_one_stream_too_many_is_turned_away_and_there_is_room_again_after(
    reporter, config, host
):
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(STREAMS_MAX):
            await stack.enter_async_context(await trio.open_tcp_stream(config.address, PORT))
        assert await is_cut_off(config.address, b"\x00")
        assert reporter.requests_dropped == 1
    with trio.fail_after(10):
        while not await is_answered(host):
            await trio.lowlevel.checkpoint()


async def test_our_own_fault_in_one_answer_is_logged_and_ends_nothing_else(reporter, host):
    def fail() -> None:
        raise ZeroDivisionError

    reporter.status = fail
    with structlog.testing.capture_logs() as logs:
        with pytest.raises(UnavailableError):
            await ask_status(host)
        assert await is_answered(host)
    assert reporter.requests_dropped == 1
    assert [(entry["event"], entry["task"]) for entry in logs] == [
        ("task crashed", "answer a stream")
    ]


async def test_a_service_this_host_never_had_is_not_found(reporter, host):
    for ask in (
        ask_logs(host, LogsRequest(service=HELLO)),
        ask_why(host, WhyRequest(service=HELLO)),
    ):
        with pytest.raises(NotFoundError):
            await ask


async def test_a_service_name_is_no_way_to_other_files(reporter, host, config):
    (config.state_dir / "logs").mkdir()
    (config.state_dir / "logs" / "output.log").write_text("secret\n")
    for name in ("..", "../..", "/etc", "a/../..", ""):
        with pytest.raises(RefusedError):
            await ask_logs(host, LogsRequest(service=ServiceName(name)))
