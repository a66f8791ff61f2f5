"""The two sockets of one host's gossip: datagrams and streams on the same address and port."""

from __future__ import annotations

import errno
import socket

import trio

from p2pdeploy.errors import ConfigError

__all__ = ["bind_sockets"]


async def bind_sockets(address: str, port: int) -> tuple[socket.socket, trio.SocketListener]:
    """Bind UDP and TCP at *address*; the caller closes both.

    Raises:
        ConfigError: the address is in use or not this machine's.  Nothing stays open.
    """
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.bind((address, port))
        listeners = await trio.open_tcp_listeners(port, host=address)
    except OSError as error:
        udp.close()
        in_use = error.errno == errno.EADDRINUSE
        raise ConfigError(
            "address already in use" if in_use else f"cannot bind: {error.strerror}",
            where=f"gossip {address}:{port}",
            hint="is another daemon of this host running?" if in_use else "",
            code="address-in-use" if in_use else "cannot-bind",
        ) from error
    return udp, listeners[0]
