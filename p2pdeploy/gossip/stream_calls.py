"""Streams that this host opens to other members, a few at a time."""

from __future__ import annotations

from collections.abc import Callable

import trio

from p2pdeploy.errors import P2PDeployError
from p2pdeploy.gossip.effects import SendStream
from p2pdeploy.gossip.refusals import Refusals
from p2pdeploy.gossip.streams import STREAM_TIMEOUT_S, receive_payload
from p2pdeploy.gossip.wire import PacketSeal
from p2pdeploy.messages.gossip import Packet

__all__ = ["StreamCalls", "call_peer"]

STREAMS_OPENED_MAX = 8  # each may hold one frame of 8 MiB


class StreamCalls:
    """One request and one reply per stream.

    Args:
        seal: Seals requests and opens replies.
        own_address: What outgoing streams bind.
        refusals: Whom not to call.
        is_heard: Whether the sender of a reply is not refused.
    """

    def __init__(
        self,
        seal: PacketSeal,
        own_address: str,
        refusals: Refusals,
        is_heard: Callable[[Packet], bool],
    ) -> None:
        self._seal = seal
        self._own_address = own_address
        self._refusals = refusals
        self._is_heard = is_heard
        self._limiter = trio.CapacityLimiter(STREAMS_OPENED_MAX)

    async def call(self, effect: SendStream) -> Packet | None:
        """The peer's reply; None when there is none in time, or none that counts."""
        reply = None
        refused = effect.address in self._refusals.addresses
        with trio.move_on_after(0 if refused else STREAM_TIMEOUT_S):
            async with self._limiter:
                reply = await call_peer(
                    self._seal,
                    effect.request,
                    own_address=self._own_address,
                    address=effect.address,
                    port=effect.port,
                )
        return reply if reply is not None and self._is_heard(reply) else None


async def call_peer(
    seal: PacketSeal, request: Packet, *, own_address: str, address: str, port: int
) -> Packet | None:
    """Send *request* to a peer from *own_address* and return its reply.

    None when the peer can't be reached, hangs up, or answers with bytes that do not prove
    themselves.  Waits as long as the peer does; the caller sets the timeout.
    """
    try:
        with trio.socket.socket() as socket:  # there may be no descriptor left
            await socket.bind((own_address, 0))
            await socket.connect((address, port))
            data, proof = seal.seal_request(request)
            stream = trio.SocketStream(socket)
            await stream.send_all(data)
            return seal.open_reply(await receive_payload(stream), proof)
    except (OSError, trio.BrokenResourceError, P2PDeployError):
        return None
