"""Bodies that fill memory, that dribble, and that nobody reads.  Real sockets."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from p2pdeploy.trust.streams import SecureStream, open_stream
from p2pdeploy.trust.tls import IdentityFiles, client_context, is_control_plane
from p2ptracker.api import body_room, tls
from p2ptracker.api.body_room import BodyRoom
from tests.p2ptracker.api.test_connections import gets_in, turned_away
from tests.p2ptracker.tracker_bench import Tracker
from tests.trust_folder import host_files, operator_files

LARGE = 1024 * 1024
SHARE = LARGE + LARGE // 2


@pytest.fixture
async def small(
    fleet_dir: Path, started, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Tracker]:
    """A control plane with room for two large bodies, one of each caller."""
    monkeypatch.setattr(body_room, "PEOPLE_OF_ONE_BYTES_MAX", SHARE)
    monkeypatch.setattr(body_room, "PEOPLE_BYTES_MAX", 2 * SHARE)
    monkeypatch.setattr(body_room, "WAIT_S", 0.2)
    async with started(fleet_dir) as tracker:
        yield tracker


def announced(tracker: Tracker, size_bytes: int, path: str = "/v1/releases/hello/1.0.0") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{tracker.ports.api}\r\n"
        f"Content-Type: application/msgpack\r\nContent-Length: {size_bytes}\r\n\r\n"
    ).encode()


@asynccontextmanager
async def said_by(
    tracker: Tracker, files: IdentityFiles, said: bytes
) -> AsyncGenerator[SecureStream]:
    context = client_context(files, is_control_plane, who="the control plane")
    stream = await open_stream("127.0.0.1", tracker.ports.api, context)
    try:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(said)
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


async def answer_on(stream: SecureStream) -> str:
    answer = ""
    with trio.fail_after(10):
        while "}}" not in answer:  # every answer here is an error's document
            answer += (await stream.receive_some(4_096)).decode()
    return answer


def publisher(tracker: Tracker, name: str) -> IdentityFiles:
    return operator_files(tracker.folder, name, "publisher:hello")


async def test_a_publisher_takes_its_share_of_memory_and_no_more(small: Tracker) -> None:
    ann, bob = publisher(small, "ann"), publisher(small, "bob")
    half = announced(small, LARGE) + bytes(LARGE // 2)
    async with said_by(small, ann, half), said_by(small, ann, half) as second:
        answer = await answer_on(second)
        assert answer.startswith("HTTP/1.1 503 ")
        assert "too-many-bodies" in answer
        async with said_by(small, bob, announced(small, LARGE) + bytes(LARGE)) as other:
            assert (await answer_on(other)).startswith("HTTP/1.1 400 "), "its body was read"


async def test_a_body_of_no_announced_length_takes_room_as_well(small: Tracker) -> None:
    ann = publisher(small, "ann")
    piece = b"%x\r\n" % LARGE + bytes(LARGE) + b"\r\n"
    chunked = announced(small, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    async with said_by(small, ann, chunked + piece), said_by(small, ann, chunked + piece) as second:
        assert "too-many-bodies" in await answer_on(second)


async def test_room_is_given_back_with_the_answer_and_by_who_has_gone(small: Tracker) -> None:
    ann = publisher(small, "ann")
    for _ in range(3):
        async with said_by(small, ann, announced(small, LARGE) + bytes(LARGE)) as stream:
            assert (await answer_on(stream)).startswith("HTTP/1.1 400 ")
        async with said_by(small, ann, announced(small, LARGE) + bytes(LARGE // 2)):
            pass


async def test_hosts_take_no_room_of_people(small: Tracker) -> None:
    host = host_files(small.folder, small.plane.inventory[0])
    sync = announced(small, 2 * LARGE, "/v1/cells/lab.web.c0/sync") + bytes(LARGE)
    async with said_by(small, host, sync), said_by(small, host, sync):
        ann = publisher(small, "ann")
        async with said_by(small, ann, announced(small, LARGE) + bytes(LARGE)) as stream:
            assert (await answer_on(stream)).startswith("HTTP/1.1 400 ")


@pytest.mark.parametrize("size_bytes", [LARGE, 1_000])
async def test_a_body_that_stalls_is_cut_off(
    small: Tracker, monkeypatch: pytest.MonkeyPatch, size_bytes: int
) -> None:
    monkeypatch.setattr(body_room, "GRACE_S", 0.2)
    monkeypatch.setattr(body_room, "BYTES_PER_S_MIN", 8 * LARGE)
    stalled = announced(small, size_bytes) + bytes(size_bytes // 2)
    async with said_by(small, publisher(small, "ann"), stalled) as stream:
        answer = await answer_on(stream)
    assert answer.startswith("HTTP/1.1 503 ")
    assert "slow-body" in answer


@pytest.mark.parametrize("path", ["/v1/operators/renewal", "/v1/nothing", "/v1/cells/c/sync"])
async def test_a_large_body_that_is_refused_unread_holds_no_place(
    fleet_dir: Path, started, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Its rest lay in a queue that nobody emptied, and the connection never ended."""
    monkeypatch.setattr(tls, "OPERATORS_OF_ONE_MAX", 2)
    monkeypatch.setattr(tls, "LINGER_S", 0.1)
    async with started(fleet_dir) as tracker:
        files = operator_files(tracker.folder, "eve", "viewer")
        for _ in range(6):
            with trio.move_on_after(0.5):
                said = announced(tracker, 8 * LARGE, path) + bytes(8 * LARGE)
                async with said_by(tracker, files, said):
                    pass
        async with said_by(tracker, files, b"GET /v1/time HTTP/1.1\r\nHost: x\r\n\r\n") as stream:
            assert (await answer_on(stream)).startswith("HTTP/1.1 403 ")
        assert turned_away(tracker, "operator") == 0


@pytest.mark.slow
async def test_who_does_not_read_answers_holds_no_place_for_long(
    fleet_dir: Path, started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "OPERATORS_OF_ONE_MAX", 1)
    monkeypatch.setattr(body_room, "GRACE_S", 0.2)
    monkeypatch.setattr(body_room, "BYTES_PER_S_MIN", 8 * LARGE)
    async with started(fleet_dir) as tracker:
        host = f"127.0.0.1:{tracker.ports.api}"
        asked = f"GET /v1/openapi.json HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() * 900
        deaf = operator_files(tracker.folder, "eve", "viewer")
        async with said_by(tracker, deaf, asked):
            with trio.fail_after(40):
                while await is_turned_away(tracker, deaf):  # noqa: ASYNC110 -- no event tells it
                    await trio.sleep(0.1)
        await gets_in(tracker)


async def is_turned_away(tracker: Tracker, files: IdentityFiles) -> bool:
    async with said_by(tracker, files, b"GET /v1/time HTTP/1.1\r\nHost: x\r\n\r\n") as stream:
        with contextlib.suppress(trio.BrokenResourceError):
            return not await stream.receive_some(100)
    return True


async def test_who_waits_for_room_gets_it_when_it_is_there(autojump_clock: object) -> None:
    room, order = BodyRoom(bytes_max=10, each_bytes_max=6), list[str]()

    async def large(who: str) -> None:
        taken = await room.take(who, 99)
        assert taken == 6, "no more than one may have"
        await trio.sleep(1)
        order.append(who)
        room.give_back(who, taken)

    async with trio.open_nursery() as nursery:
        for who in ("ann", "ann", "bob"):
            nursery.start_soon(large, who)
    assert sorted(order) == ["ann", "ann", "bob"]
    assert repr(room) == "<BodyRoom 0 of 10 bytes>"
