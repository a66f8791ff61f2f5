"""Who asks a daemon: strangers, the slow and one too many get no answer, and are counted."""

from __future__ import annotations

import contextlib
import ssl
from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest
import trio

from p2pdaemon import host_api
from p2pdaemon.host_api import STREAMS_MAX, HostApi
from p2pdaemon.refused import Refused
from p2pdeploy.codec import encode, frame
from p2pdeploy.errors import NotFoundError, RefusedError, TrustError, UnavailableError
from p2pdeploy.host_client import (
    HostAddress,
    ask_cache,
    ask_logs,
    ask_prune,
    ask_status,
    ask_why,
)
from p2pdeploy.ids import Digest, HostName, ServiceName
from p2pdeploy.messages.cache import Cache, CachedRelease, Pruned
from p2pdeploy.messages.host import (
    HOST_REQUEST_BYTES_MAX,
    Logs,
    LogsRequest,
    StatusRequest,
    WhyRequest,
)
from p2pdeploy.topology import Host
from p2pdeploy.trust.host_identity import load_identity
from p2pdeploy.trust.streams import open_stream
from p2pdeploy.trust.tls import IdentityFiles, client_context, is_host, server_context
from p2ptracker.authority.create import create_trust
from tests.p2pdaemon.conftest import fleet_of, host_of
from tests.trust_folder import (
    add_trust,
    control_plane_files,
    enrol,
    operator_files,
)

HELLO = ServiceName("hello")
PORT = 7947


@pytest.fixture
def identity(config) -> IdentityFiles:
    """An operator's; the daemon under test has its own beside it."""
    add_trust(fleet_of(config))
    enrol(fleet_of(config), a_host(config), config.identity_dir)
    return operator_files(fleet_of(config), "ann", "viewer")


class SomeCache:
    """One release that nobody needs."""

    def __init__(self) -> None:
        self.releases = [
            CachedRelease(
                digest=Digest("ab" * 32),
                service=HELLO,
                size_bytes=1,
                state="unused",
                staged_at=1.0,
                used_at=1.0,
            )
        ]

    async def show(self) -> Cache:
        await trio.lowlevel.checkpoint()
        return Cache(
            releases=self.releases,
            free_bytes=5,
            reserve_bytes=1,
            held_bytes=0,
            waiting=0,
            needed_bytes=0,
        )

    async def prune(self) -> Pruned:
        await trio.lowlevel.checkpoint()
        gone, self.releases = self.releases, []
        return Pruned(releases=gone)


@pytest.fixture
def cache() -> SomeCache:
    return SomeCache()


@pytest.fixture
async def reporter(config, store, cache, nursery, identity):
    """Of a host that has never had a service."""
    silent = SimpleNamespace(requests_dropped=0, why=lambda _: None, attestation=lambda _: None)
    silent.refused = Refused("lab", config.cell)
    files = load_identity(config.identity_dir, config.name).files
    context = server_context(files, demands_certificate=True)
    await nursery.start(
        HostApi(silent, store, cache, context, silent.refused.is_revoked).serve,
        config.address,
        PORT,
    )
    return silent


@pytest.fixture
def host(config, identity) -> HostAddress:
    return HostAddress(config.name, config.address, PORT, identity=identity)


def a_host(config, name: str = "") -> Host:
    return msgspec.structs.replace(
        host_of(config), name=HostName(name or config.name), host_port=PORT
    )


async def say(host: HostAddress, data: bytes) -> bytes:
    """Send *data* as an operator; what comes back until the stream ends."""
    context = client_context(host.identity, is_host(host.name), who=host.name)
    with trio.fail_after(10):
        async with await open_stream(host.address, host.port, context) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(data)
                return b"".join([part async for part in stream])
    return b""


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


async def test_an_operator_and_the_control_plane_are_answered(reporter, config, host):
    assert await is_answered(host)
    files = control_plane_files(fleet_of(config))
    assert await is_answered(HostAddress(config.name, config.address, PORT, identity=files))
    assert reporter.requests_dropped == 0


async def test_an_operator_sees_releases_and_has_none_deleted(reporter, config, cache, identity):
    """Not even an admin: what is deleted is judged and put on record by the control plane."""
    admin = operator_files(fleet_of(config), "root", "admin", "rollout-owner")
    host = HostAddress(config.name, config.address, PORT, identity=admin)
    assert (await ask_cache(host)).releases == cache.releases
    with pytest.raises(UnavailableError):
        await ask_prune(host)
    assert reporter.requests_dropped == 1
    assert len(cache.releases) == 1


async def test_the_control_plane_has_releases_deleted(reporter, config, cache):
    files = control_plane_files(fleet_of(config))
    host = HostAddress(config.name, config.address, PORT, identity=files)
    assert len((await ask_prune(host)).releases) == 1
    assert cache.releases == []


async def test_another_fleets_operator_is_not_answered(reporter, config, host, tmp_path):
    other = tmp_path / "other"
    create_trust(other, "other", now=datetime.now(UTC))
    stranger = operator_files(other, "ann", "admin")
    trusting = msgspec.structs.replace(stranger, authority=host.identity.authority)
    with pytest.raises((UnavailableError, TrustError)):
        await ask_status(HostAddress(config.name, config.address, PORT, identity=trusting))
    assert reporter.requests_dropped == 1


async def test_another_host_is_not_answered(reporter, config, tmp_path):
    enrol(fleet_of(config), a_host(config, "h99"), tmp_path / "h99")
    files = load_identity(tmp_path / "h99", "h99").files
    with pytest.raises(UnavailableError):
        await ask_status(HostAddress(config.name, config.address, PORT, identity=files))
    assert reporter.requests_dropped == 1


async def test_a_host_that_answers_for_another_is_not_believed(reporter, config, identity):
    with pytest.raises(TrustError, match="not host h99"):
        await ask_status(HostAddress("h99", config.address, PORT, identity=identity))


async def test_plain_tcp_and_no_certificate_are_cut_off(reporter, config, host):
    assert await is_cut_off(config.address, frame(encode(StatusRequest())))
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.load_verify_locations(host.identity.authority)
    async with await open_stream(config.address, PORT, bare) as stream:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(frame(encode(StatusRequest())))
            assert await stream.receive_some() == b""
    assert reporter.requests_dropped == 2


async def test_a_frame_beyond_the_limit_is_refused_by_its_length_alone(reporter, host):
    assert await say(host, frame(bytes(HOST_REQUEST_BYTES_MAX + 1))[:8]) == b""
    assert reporter.requests_dropped == 1


async def test_what_is_no_request_is_not_answered(reporter, host):
    for nonsense in (b"", b"\xc1", encode(["why?"])):
        assert await say(host, frame(nonsense)) == b""
    assert reporter.requests_dropped == 3


async def test_a_stream_that_says_nothing_is_cut_off(reporter, config, monkeypatch):
    monkeypatch.setattr(host_api, "STREAM_TIMEOUT_S", 0.05)
    assert await is_cut_off(config.address, b"\x00")
    assert reporter.requests_dropped == 1


async def test_idle_strangers_keep_nobody_from_an_answer(reporter, config, host):
    async with contextlib.AsyncExitStack() as stack:
        idle = [
            await stack.enter_async_context(await trio.open_tcp_stream(config.address, PORT))
            for _ in range(STREAMS_MAX)
        ]
        assert await is_answered(host)
        with trio.fail_after(10):
            assert await idle[0].receive_some() == b"", "the oldest gave way"
        assert reporter.requests_dropped == 1


async def test_one_answer_too_many_is_not_begun_and_there_is_room_again_after(
    reporter, host, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(host_api, "STREAMS_MAX", 0)
        assert not await is_answered(host)
    assert reporter.requests_dropped == 1
    assert await is_answered(host)


async def test_our_own_fault_in_one_answer_is_logged_and_ends_nothing_else(reporter, host, logged):
    def fail() -> None:
        raise ZeroDivisionError

    reporter.status = fail
    with pytest.raises(UnavailableError):
        await ask_status(host)
    assert await is_answered(host)
    assert reporter.requests_dropped == 1
    assert [(entry["event"], entry["task"]) for entry in logged] == [
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


async def test_a_log_replaced_by_a_folder_is_refused_and_the_server_goes_on(reporter, host, store):
    log = store.log_path(HELLO)
    log.mkdir(parents=True)
    with pytest.raises(RefusedError) as refused:
        await ask_logs(host, LogsRequest(service=HELLO))
    assert refused.value.code == "log-unreadable"
    log.rmdir()
    log.write_text("fine again\n")
    assert await ask_logs(host, LogsRequest(service=HELLO)) == Logs(
        service=HELLO, lines=["fine again"]
    )
