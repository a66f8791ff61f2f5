"""A TCP listener that bounds how many connections are open at a time."""

from __future__ import annotations

import resource
from collections.abc import Awaitable, Callable

import structlog
import trio

__all__ = ["allow_descriptors", "serve_bounded"]

DESCRIPTORS = 8_192  # every place for a connection there is, and the files of the store

log = structlog.get_logger(__name__)


def allow_descriptors() -> None:
    """Let this process open as many as our bounds promise, as far as the machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS:
        wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def serve_bounded(
    serve_connection: Callable[[trio.SocketStream], Awaitable[None]],
    address: str,
    port: int,
    *,
    open_max: int,
    turned_away: Callable[[], None],
    task_status: trio.TaskStatus[int],
) -> None:
    """Accept until cancelled; ``started`` hands back the port.

    Args:
        serve_connection: Serves one connection, which is closed after.  What it raises is
            logged, and ends this connection alone.
        address: Where to bind.
        port: 0 for any free one.
        open_max: Connections beyond it are closed without a word: nobody has proved anything
            yet, and waiting ones would pile up without bound.
        turned_away: Called for each of these.
        task_status: trio's.

    Raises:
        OSError: the address is taken, or not this machine's.
    """
    open_now = 0

    async def admit(stream: trio.SocketStream) -> None:
        nonlocal open_now
        if open_now >= open_max:
            turned_away()
            return
        open_now += 1
        try:
            await serve_connection(stream)
        except Exception:  # one connection must not end the others
            log.exception("connection-crashed", address=address, port=port)
        finally:
            open_now -= 1

    listeners = await trio.open_tcp_listeners(port, host=address)
    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(admit, listeners)
