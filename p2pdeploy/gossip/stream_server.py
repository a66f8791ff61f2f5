"""Answers the streams that other members open, a few at a time."""

from __future__ import annotations

from collections.abc import Callable

import trio

from p2pdeploy.errors import P2PDeployError
from p2pdeploy.gossip.statistics import ShellStatistics
from p2pdeploy.gossip.streams import STREAM_TIMEOUT_S, receive_payload
from p2pdeploy.gossip.wire import PacketSeal
from p2pdeploy.messages.gossip import Packet
from p2pdeploy.places import Places, address_of

__all__ = ["STREAMS_OF_ONE_MAX", "STREAMS_SERVED_MAX", "StreamServer"]

# Each may hold one frame (8 MiB); more peers than this at once are turned away and try later.
STREAMS_SERVED_MAX = 8
STREAMS_OF_ONE_MAX = 2  # of an address; nobody has proved anything yet


class StreamServer:
    """One request and one reply per stream; what fails is counted and cut off.

    Args:
        seal: Opens requests and seals replies.
        answer: The core's reply to a request; None: it has none.
        is_heard: Whether the sender is not refused.
        statistics: Where it is counted.
    """

    def __init__(
        self,
        seal: PacketSeal,
        answer: Callable[[Packet], Packet | None],
        is_heard: Callable[[Packet], bool],
        statistics: ShellStatistics,
    ) -> None:
        self._seal = seal
        self._answer = answer
        self._is_heard = is_heard
        self._statistics = statistics
        self._places = Places(open_max=STREAMS_SERVED_MAX, each_max=STREAMS_OF_ONE_MAX)

    async def serve_streams(self, listener: trio.SocketListener) -> None:
        """Answer whoever connects, until cancelled."""
        await trio.serve_listeners(self._serve_stream, [listener])

    async def _serve_stream(self, stream: trio.SocketStream) -> None:
        """Answer one request; the caller closes the stream."""
        try:
            address = address_of(stream)
            if not self._places.has_room(address):
                self._statistics.streams_turned_away += 1
                return
            with self._places.hold(address), trio.fail_after(STREAM_TIMEOUT_S):
                packet, proof = self._seal.open_request(await receive_payload(stream))
                reply = self._answer(packet) if self._is_heard(packet) else None
                if reply is not None:
                    await stream.send_all(self._seal.seal_reply(reply, proof))
        except (P2PDeployError, trio.BrokenResourceError, trio.TooSlowError):
            self._statistics.streams_dropped += 1
