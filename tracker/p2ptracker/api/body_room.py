"""Request bodies in memory: so many bytes at once, and none that dribbles in.

A small body is bounded by the number of connections.  A large one takes room before it is read,
by its announced length, and gives it back with the answer: one caller has a share, and callers of
one kind do not take another's.  Who finds none waits a little, unread, and is then told to come
again.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import trio

from p2pdeploy.errors import ProtocolError, UnavailableError
from p2pdeploy.limits import FRAME_BYTES_MAX
from p2pdeploy.messages.upload import PUBLISH_BYTES_MAX
from p2pdeploy.trust.identity import HostId, spiffe_id
from p2pdeploy.trust.tls import Peer
from p2ptracker.api.unread_body import Application, Receive, Scope, Send, announced_bytes

__all__ = ["BodyRoom", "allowed_s", "bound_bodies"]

SMALL_BYTES_MAX = 256 * 1024  # as most routes take at most
# Two of the largest indexes.  A body is there in pieces, whole and decoded, for a moment at once:
# at worst 600 MiB of memory for people's bodies, and 200 MiB for those of hosts.
PEOPLE_BYTES_MAX, PEOPLE_OF_ONE_BYTES_MAX = 2 * PUBLISH_BYTES_MAX, PUBLISH_BYTES_MAX
HOSTS_BYTES_MAX, HOSTS_OF_ONE_BYTES_MAX = 8 * FRAME_BYTES_MAX, 2 * FRAME_BYTES_MAX
WAIT_S = 10.0  # for room; a publish of usual size is through in a second
GRACE_S = 10.0  # a client that begins slowly
BYTES_PER_S_MIN = 128 * 1024  # on average; the largest index may take 13 minutes


def allowed_s(size_bytes: int) -> float:
    """How long so many bytes may be on their way, in either direction."""
    return GRACE_S + size_bytes / BYTES_PER_S_MIN


class BodyRoom:
    """Room for the bytes of large bodies, of callers of one kind.

    Args:
        bytes_max: How many bytes there is room for.
        each_bytes_max: How many of them one caller may take.
    """

    def __init__(self, *, bytes_max: int, each_bytes_max: int) -> None:
        assert 0 < each_bytes_max <= bytes_max
        self._bytes_max, self._each_bytes_max = bytes_max, each_bytes_max
        self._taken: Counter[str] = Counter()
        self._freed = trio.Event()

    def __repr__(self) -> str:
        return f"<BodyRoom {self._taken.total()} of {self._bytes_max} bytes>"

    async def take(self, who: str, size_bytes: int) -> int:
        """Wait for room; return how much was taken, which is to be given back.

        Raises:
            UnavailableError: there was none for ``WAIT_S``; nothing is taken.
        """
        size_bytes = min(size_bytes, self._each_bytes_max)  # the route refuses what is larger
        with trio.move_on_after(WAIT_S):
            while not self._fits(who, size_bytes):
                await self._freed.wait()
            self._taken[who] += size_bytes
            return size_bytes
        raise UnavailableError(
            "too many large requests are under way",
            hint="try again in a minute",
            code="too-many-bodies",
        )

    def give_back(self, who: str, size_bytes: int) -> None:
        """Undo a :meth:`take`."""
        self._taken[who] -= size_bytes
        if not self._taken[who]:
            del self._taken[who]
        freed, self._freed = self._freed, trio.Event()
        freed.set()

    def _fits(self, who: str, size_bytes: int) -> bool:
        return (
            self._taken.total() + size_bytes <= self._bytes_max
            and self._taken[who] + size_bytes <= self._each_bytes_max
        )


def bound_bodies(application: Application) -> Application:
    """Wrap *application*, an ASGI one, so that its requests' bodies are bounded.

    It finds out while it reads: ``receive`` raises the errors.
    """
    people = BodyRoom(bytes_max=PEOPLE_BYTES_MAX, each_bytes_max=PEOPLE_OF_ONE_BYTES_MAX)
    hosts = BodyRoom(bytes_max=HOSTS_BYTES_MAX, each_bytes_max=HOSTS_OF_ONE_BYTES_MAX)

    async def bound(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        peer: Peer | None = scope["state"].get("peer")
        is_host = peer is not None and isinstance(peer.identity, HostId)
        body = _Body(
            receive,
            announced_bytes(scope),
            hosts if is_host else people,
            spiffe_id(peer.identity) if peer is not None else "",
        )
        try:
            await application(scope, body.receive, send)
        finally:
            body.give_back()

    return bound


class _Body:
    """The body of one request, on its way in."""

    def __init__(self, receive: Receive, announced: int, room: BodyRoom, who: str) -> None:
        self._receive = receive
        self._announced_bytes = announced
        self._room, self._who = room, who
        self._taken_bytes = 0
        self._received_bytes = 0
        self._waited_s = 0.0
        self._is_whole = False

    async def receive(self) -> dict[str, Any]:
        """The next part of it; of what comes behind it as it is.

        Raises:
            ProtocolError: it is large, and of nobody known.
            UnavailableError: there is no room for it, or it comes too slowly.
        """
        if self._is_whole:
            return await self._receive()
        size_bytes = max(self._announced_bytes, self._received_bytes)
        if size_bytes > SMALL_BYTES_MAX and not self._taken_bytes:
            await self._take()
        message = await self._receive_in_time()
        self._received_bytes += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        return message

    def give_back(self) -> None:
        if self._taken_bytes:
            self._room.give_back(self._who, self._taken_bytes)

    async def _take(self) -> None:
        if not self._who:
            raise ProtocolError("the body is too large", code="too-large")
        # Without a length it may become as large as any.
        announced = self._announced_bytes or PUBLISH_BYTES_MAX
        self._taken_bytes = await self._room.take(self._who, announced)

    async def _receive_in_time(self) -> dict[str, Any]:
        began = trio.current_time()
        left_s = allowed_s(self._received_bytes) - self._waited_s
        with trio.move_on_after(max(left_s, 0.0)):
            message = await self._receive()
            self._waited_s += trio.current_time() - began
            return message
        raise UnavailableError(
            "the body of the request came too slowly", hint="try again", code="slow-body"
        )
