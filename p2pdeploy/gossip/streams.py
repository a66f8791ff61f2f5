"""One request and one reply over TCP, each way one frame: what both sides share."""

from __future__ import annotations

import trio

from p2pdeploy.codec import FrameReader
from p2pdeploy.errors import ProtocolError

__all__ = ["STREAM_TIMEOUT_S", "receive_payload"]

READ_BYTES = 64 * 1024
# One megabyte at a tenth of a slow link; a peer that needs longer is cut off.
STREAM_TIMEOUT_S = 5.0


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
