"""TLS over plain TCP streams, under trio: accept one, open one."""

from __future__ import annotations

import ssl

import trio

from p2pdeploy.errors import TrustError
from p2pdeploy.trust.tls import Peer, peer_of

__all__ = ["SecureStream", "accept_peer", "open_stream"]

SecureStream = trio.SSLStream[trio.SocketStream]


async def accept_peer(
    stream: trio.SocketStream, context: ssl.SSLContext
) -> tuple[SecureStream, Peer]:
    """Shake hands with whoever opened *stream*; the caller bounds the time and closes it.

    Raises:
        TrustError: no TLS, a certificate of somebody else, or none.  Nothing was read or sent
            beyond the handshake.
    """
    secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
    try:
        await secure.do_handshake()
    except trio.BrokenResourceError as error:
        raise TrustError(f"handshake failed: {error.__cause__ or error}") from error
    return secure, peer_of(secure.getpeercert())


async def open_stream(
    address: str, port: int, context: ssl.SSLContext, *, source: str | None = None
) -> SecureStream:
    """A stream to the peer that *context* expects; the caller closes it.

    Args:
        address: Where it listens.
        port: And on which port.
        context: From ``client_context``.
        source: The address to call from; None lets the kernel choose.

    Raises:
        OSError: nobody listens there.
        TrustError: somebody else does.  A certificate of ours that is refused there shows at the
            first read only, as a broken stream.
    """
    plain = await trio.open_tcp_stream(address, port, local_address=source)
    secure = trio.SSLStream(plain, context, https_compatible=True)
    try:
        await secure.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(plain)
        cause = error.__cause__
        if isinstance(cause, ssl.SSLError):
            raise TrustError(f"not who was expected: {cause}", where=f"{address}:{port}") from error
        raise ConnectionError("the peer closed the stream in the handshake") from error
    except BaseException:
        await trio.aclose_forcefully(plain)
        raise
    return secure
