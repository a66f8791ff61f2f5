"""Attacks on the upload port.  Each ends with not one byte more in the registry than before."""

from __future__ import annotations

import contextlib
import datetime as dt
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from prometheus_client import CollectorRegistry, Counter

from p2pdeploy.codec import encode, frame
from p2pdeploy.messages.api import PublishBegun
from p2pdeploy.messages.upload import CHUNK_HEADER, END_OF_CHUNKS, UploadHello
from p2pdeploy.payload.build import Built
from p2pdeploy.trust.certificates import key_to_pem, new_key, signing_request
from p2pdeploy.trust.private_files import write_private
from p2pdeploy.trust.tls import IdentityFiles, client_context, is_control_plane, server_context
from p2ptracker.api.authorise import may_upload_something
from p2ptracker.authority.create import create_trust
from p2ptracker.authority.folder import TrustPaths, open_trust
from p2ptracker.authority.issue import issue_operator
from p2ptracker.registry import reception, upload_server
from p2ptracker.registry.upload_server import UploadServer
from tests.trust_folder import add_trust, control_plane_files, host_files, operator_files

Payload = Callable[..., Built]


def expired_files(folder: Path) -> IdentityFiles:
    """An admin whose certificate held until yesterday."""
    trust, key = open_trust(folder), new_key()
    now = dt.datetime.now(dt.UTC) - dt.timedelta(days=31)
    certificate = issue_operator(trust, "old", ("admin",), signing_request(key), now=now)
    path = folder / "operator" / "old.pem"
    write_private(path, key_to_pem(key) + certificate)
    return IdentityFiles(certificate=path, key=path, authority=trust.paths.fleet_ca)


def foreign_files(folder: Path) -> IdentityFiles:
    """The admin of another fleet of the same name."""
    create_trust(folder / "foreign", "lab", now=dt.datetime.now(dt.UTC))
    paths = TrustPaths(folder / "foreign")
    return msgspec.structs.replace(
        paths.operator_files(), authority=TrustPaths(folder).operator_files().authority
    )


def context_of(files: IdentityFiles) -> ssl.SSLContext:
    return client_context(files, is_control_plane, who="the registry")


def context_without_certificate(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cafile=TrustPaths(folder).fleet_ca)
    return context


async def send_everything(tracker, begun: PublishBegun, built: Built, context) -> bytes:
    """Send a whole upload without waiting for a word; returns what was said before the end."""
    host, _, port = begun.upload_address.rpartition(":")
    plain = await trio.open_tcp_stream(host, int(port))
    heard = b""
    with trio.fail_after(10):
        async with trio.SSLStream(plain, context, https_compatible=True) as stream:
            try:
                await stream.send_all(frame(encode(UploadHello(upload_key=begun.upload_key))))
                for number in tracker.numbers(begun):
                    await stream.send_all(tracker.chunk(built, number))
                await stream.send_all(CHUNK_HEADER.pack(END_OF_CHUNKS, 0))
            except trio.BrokenResourceError:
                pass  # it was refused while it sent
            try:
                while data := await stream.receive_some(65536):
                    heard += data
            except trio.BrokenResourceError:
                pass
    return heard


def stored_bytes(tracker, built: Built) -> int:
    """What an upload has on disk beside the manifest and chunk index that began it."""
    place = tracker.folder / "tracker" / "uploads" / built.manifest_digest
    blobs = sum(path.stat().st_blocks for path in place.glob("blob-*"))
    return blobs + (place / "journal").stat().st_size


def refused(tracker, code: str) -> float:
    return tracker.plane.metrics.uploads_refused.labels(code=code)._value.get()


@pytest.mark.parametrize("who", ["nobody", "foreign CA", "expired"])
async def test_a_stranger_is_refused_in_the_handshake(tracker, payload: Payload, who: str) -> None:
    built = payload()
    begun = await tracker.begun("1.0.0", built)
    context = {
        "nobody": lambda: context_without_certificate(tracker.folder),
        "foreign CA": lambda: context_of(foreign_files(tracker.folder)),
        "expired": lambda: context_of(expired_files(tracker.folder)),
    }[who]()
    assert await send_everything(tracker, begun, built, context) == b""
    assert refused(tracker, "stranger") == 1
    assert stored_bytes(tracker, built) == 0
    again = await tracker.begun("1.0.0", built)
    assert again.missing == begun.missing


@pytest.mark.parametrize("who", ["host", "viewer", "publisher of another service"])
async def test_a_stolen_upload_key_is_of_no_use_to_who_may_not_publish(
    tracker, payload: Payload, who: str
) -> None:
    built = payload()
    begun = await tracker.begun("1.0.0", built)
    folder = tracker.folder
    files = {
        "host": lambda: host_files(folder, tracker.plane.inventory[0]),
        "viewer": lambda: operator_files(folder, "eve", "viewer", "rollout-owner"),
        "publisher of another service": lambda: operator_files(folder, "bob", "publisher:other"),
    }[who]()
    heard = await send_everything(tracker, begun, built, context_of(files))
    assert b"forbidden" in heard
    assert refused(tracker, "forbidden") == 1
    assert stored_bytes(tracker, built) == 0


async def test_another_publisher_of_the_service_may_help(tracker, payload: Payload) -> None:
    built = payload()
    begun = await tracker.begun("1.0.0", built)
    ann = context_of(operator_files(tracker.folder, "ann", "publisher:hello"))
    await send_everything(tracker, begun, built, ann)
    assert (await tracker.commit("1.0.0", built)).status_code == 200


async def test_tls_1_2_is_refused(tracker, payload: Payload) -> None:
    built = payload()
    begun = await tracker.begun("1.0.0", built)
    context = context_of(tracker.identity)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await send_everything(tracker, begun, built, context) == b""
    assert refused(tracker, "stranger") == 1


@pytest.mark.parametrize("forged", [b"\x17\x03\x03\x00\x20" + bytes(32), b"\0" * 64])
async def test_bytes_put_into_the_stream_by_somebody_else_end_it(
    tracker, payload: Payload, forged: bytes
) -> None:
    built = payload()
    begun = await tracker.begun("1.0.0", built)
    async with await tracker.connect(begun) as stream:
        await stream.receive_some(4096)  # accepted
        await stream.transport_stream.send_all(forged)
        await stream.transport_stream.send_all(tracker.chunk(built, 0))
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await stream.receive_some(4096)
    assert refused(tracker, "protocol") == 1
    assert stored_bytes(tracker, built) == 0
    assert (await tracker.publish("1.0.0", built)).status_code == 200


async def test_a_goodbye_behind_the_last_chunk_loses_nothing(tracker, payload: Payload) -> None:
    built = payload()
    begun = await tracker.begun("1.0.0", built)
    async with await tracker.connect(begun) as stream:
        for number in tracker.numbers(begun):
            await stream.send_all(tracker.chunk(built, number))
        await stream.send_all(CHUNK_HEADER.pack(END_OF_CHUNKS, 0))
        with trio.fail_after(5):
            with contextlib.suppress(trio.BrokenResourceError):  # an ack, and no goodbye yet
                await stream.unwrap()
            while await stream.transport_stream.receive_some(4096):
                pass
    assert (await tracker.commit("1.0.0", built)).status_code == 200


async def test_an_upload_of_who_was_revoked_meanwhile_ends(
    tracker, payload: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = payload()
    begun = await tracker.begun("1.0.0", built)
    async with await tracker.connect(begun) as stream:
        await stream.receive_some(4096)  # accepted
        monkeypatch.setattr(type(tracker.plane.standing), "is_revoked", lambda self, peer: True)
        await stream.send_all(tracker.chunk(built, 0))
        assert await tracker.refusal(stream) == "forbidden"
    assert stored_bytes(tracker, built) == 0


class Listening:
    """An upload server by itself; its spools are none."""

    def __init__(self, folder: Path) -> None:
        add_trust(folder)
        self.folder = folder
        self.publisher = context_of(operator_files(folder, "ann", "publisher:*"))
        self.refused, self.turned_away = _counter("code"), _counter()
        self._server = UploadServer(
            lambda key: None,
            server_context(control_plane_files(folder), demands_certificate=True),
            may_upload_something,
            lambda peer, service: True,
            turned_away=self.turned_away,
            refused=self.refused,
        )
        self.port = 0

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[None]:
        async with trio.open_nursery() as nursery:
            self.port = await nursery.start(self._server.serve, "127.0.0.1", 0)
            yield
            nursery.cancel_scope.cancel()

    def strangers(self) -> float:
        return self.refused.labels(code="stranger")._value.get()

    async def idle(self, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
        """A connection that has shaken hands and says nothing."""
        plain = await trio.open_tcp_stream("127.0.0.1", self.port)
        stream = trio.SSLStream(plain, context, https_compatible=True)
        await stream.do_handshake()
        return stream

    async def call(self, key: str = "guessed") -> bytes:
        """What a publisher with a key that nobody gave out is told."""
        plain = await trio.open_tcp_stream("127.0.0.1", self.port)
        with trio.fail_after(10):
            async with trio.SSLStream(plain, self.publisher, https_compatible=True) as stream:
                await stream.send_all(frame(encode(UploadHello(upload_key=key))))
                return await stream.receive_some(4096)


def _counter(*labels: str) -> Counter:
    return Counter("outcomes", "of a test", labels, registry=CollectorRegistry())


async def test_handshakes_that_never_end_take_no_turn_of_a_publisher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_server, "CONNECTIONS_MAX", 1)
    listening = Listening(tmp_path)
    async with listening.run(), AsyncExitStack() as stack:
        for _ in range(3):
            slow = await trio.open_tcp_stream("127.0.0.1", listening.port)
            await stack.enter_async_context(slow)
            await slow.send_all(b"\x16\x03\x01")  # the beginning of a ClientHello
        assert b"unauthorised" in await listening.call()


async def test_handshakes_that_never_end_are_bounded_in_number_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_server, "OPEN_MAX", 3)
    monkeypatch.setattr(upload_server, "HANDSHAKE_TIMEOUT_S", 0.3)
    listening = Listening(tmp_path)
    async with listening.run():
        slow = [await trio.open_tcp_stream("127.0.0.1", listening.port) for _ in range(4)]
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for stream in slow:
                    nursery.start_soon(drip_until_closed, stream)
        assert (listening.turned_away._value.get(), listening.strangers()) == (1, 3)
        assert b"unauthorised" in await listening.call()


async def test_idle_connections_keep_no_publisher_out(tmp_path: Path) -> None:
    """Three times as many as there are places for strangers, all from the publisher's address."""
    listening = Listening(tmp_path)
    async with listening.run(), AsyncExitStack() as stack:
        for _ in range(3 * upload_server.STRANGERS_MAX):
            idle = await trio.open_tcp_stream("127.0.0.1", listening.port)
            await stack.enter_async_context(idle)
        assert b"unauthorised" in await listening.call()
        kept = upload_server.STRANGERS_OF_ONE_MAX
        assert listening.turned_away._value.get() >= 3 * upload_server.STRANGERS_MAX - kept


@pytest.mark.parametrize("role", ["viewer", "rollout-owner"])
async def test_who_may_publish_nothing_holds_no_place_of_publishers(
    tmp_path: Path, role: str
) -> None:
    """More connections than there are, each with a certificate that holds."""
    listening = Listening(tmp_path)
    eve = context_of(operator_files(tmp_path, "eve", role))
    async with listening.run(), AsyncExitStack() as stack:
        for _ in range(upload_server.OPEN_MAX + 20):
            stream = await listening.idle(eve)
            stack.push_async_callback(trio.aclose_forcefully, stream)
        assert b"forbidden" in await stream.receive_some(4096)
        assert b"unauthorised" in await listening.call()


async def test_a_publisher_that_says_nothing_takes_no_turn_of_another(tmp_path: Path) -> None:
    listening = Listening(tmp_path)
    bob = context_of(operator_files(tmp_path, "bob", "publisher:other"))
    async with listening.run(), AsyncExitStack() as stack:
        for _ in range(upload_server.PUBLISHERS_OF_ONE_MAX):
            stream = await listening.idle(bob)
            stack.push_async_callback(trio.aclose_forcefully, stream)
        one_more = await listening.idle(bob)
        stack.push_async_callback(trio.aclose_forcefully, one_more)
        with trio.fail_after(5):
            assert b"too-many-connections" in await one_more.receive_some(4096)
        assert b"unauthorised" in await listening.call()


async def test_an_upload_key_that_is_no_ascii_is_refused_like_any_other(
    tracker, payload: Payload
) -> None:
    begun = msgspec.structs.replace(await tracker.begun("1.0.0", payload()), upload_key="\u00e9")
    async with await tracker.connect(begun) as stream:
        assert await tracker.refusal(stream) == "unauthorised"


async def drip_until_closed(stream: trio.SocketStream) -> None:
    """Send a ClientHello of 16 KiB byte by byte: never silent, never done."""
    async with stream:
        try:
            await stream.send_all(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc")
            while True:
                await stream.send_all(b"\x03")
                await trio.sleep(0.01)
        except trio.BrokenResourceError:
            return


async def test_a_sender_that_falls_silent_is_cut_off(
    tracker, payload: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "SILENT_S", 0.2)
    built = payload()
    begun = await tracker.begun("1.0.0", built)
    async with await tracker.connect(begun) as stream:
        await stream.receive_some(4096)  # accepted
        await stream.send_all(tracker.chunk(built, 0)[:-1])
        with trio.fail_after(5):
            assert await stream.receive_some(4096) == b""
    assert stored_bytes(tracker, built) == 0
