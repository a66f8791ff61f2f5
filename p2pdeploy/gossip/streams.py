"""One request and one reply over TCP, each way one frame."""

from __future__ import annotations

import trio

from p2pdeploy.codec import FrameReader
from p2pdeploy.errors import P2PDeployError, ProtocolError
from p2pdeploy.gossip.wire import PacketSeal
from p2pdeploy.messages.gossip import Packet

__all__ = ["STREAM_TIMEOUT_S", "call_peer", "receive_payload"]

READ_BYTES = 64 * 1024
# One megabyte at a tenth of a slow link; a peer that needs longer is cut off.
STREAM_TIMEOUT_S = 5.0


async def call_peer(
    seal: PacketSeal, request: Packet, *, own_address: str, address: str, port: int
) -> Packet | None:
    """Send *request* to a peer from *own_address* and return its reply.

    None when the peer can't be reached, hangs up, or answers with bytes that do not prove
    themselves.  Waits as long as the peer does; the caller sets the timeout.
    """
    with trio.socket.socket() as socket:
        try:
            await socket.bind((own_address, 0))
            await socket.connect((address, port))
            data, proof = seal.seal_request(request)
            stream = trio.SocketStream(socket)
            await stream.send_all(data)
            return seal.open_reply(await receive_payload(stream), proof)
        except (OSError, trio.BrokenResourceError, P2PDeployError):
            return None


async def receive_payload(stream: trio.abc.ReceiveStream) -> bytes:
    """Read one frame.

    Raises:
        ProtocolError: malformed, too large, or the stream ended first.  Close it.
        trio.BrokenResourceError: the connection broke.
    """
    frames = FrameReader()
    while data := await stream.receive_some(READ_BYTES):
        frames.feed(bytes(data))
        for payload in frames:
            return payload
    raise ProtocolError("the stream ended before its frame did")
