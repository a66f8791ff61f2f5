"""Hypercorn over TLS 1.3, with the peer's identity in every request's scope.

Hypercorn makes its own context and hides the peer's certificate.  Both are small hooks of
version 0.18: ``Config.create_ssl_context``, and the class that serves one connection.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Any, cast

import hypercorn.trio.run
import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer

from p2pdeploy.errors import TrustError
from p2pdeploy.trust.tls import IdentityFiles, peer_of, server_context

__all__ = ["TlsConfig"]

LINGER_S = 2.0  # a client that still sends the body of a request that was answered already
HANDSHAKE_TIMEOUT_S = 10.0  # two round trips and a signature; longer only holds a socket

log = structlog.get_logger(__name__)


class TlsConfig(Config):
    """A configuration that serves with our identity and asks clients for theirs.

    A client without a certificate gets as far as the guard, which tells it what it lacks.
    """

    def __init__(self, files: IdentityFiles) -> None:
        super().__init__()
        self.ssl_handshake_timeout = HANDSHAKE_TIMEOUT_S
        # Only so that Hypercorn serves TLS; what it serves with is the context below.
        self.certfile, self.keyfile = str(files.certificate), str(files.key)
        self._files = files

    def create_ssl_context(self) -> ssl.SSLContext:
        return server_context(self._files, demands_certificate=False)


class _PeerServer(TCPServer):
    """One connection.  ``scope["state"]`` of its requests has ``peer`` and ``valid_until``."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._is_closing = False
        self._heard_all = trio.Event()

    async def run(self) -> None:
        stream = self.stream
        try:
            with trio.fail_after(self.config.ssl_handshake_timeout):
                await stream.do_handshake()
            self.state = cast(Any, {**self.state, **_state_of(stream)})
        except (trio.BrokenResourceError, trio.TooSlowError):
            return  # its own reason is in the alert that the client got
        except TrustError as error:
            log.warning("strange-certificate", reason=str(error))
            return
        await super().run()

    async def _read_data(self) -> None:
        try:
            await super()._read_data()
        finally:
            self._heard_all.set()

    async def _close(self) -> None:
        """End our side and let the other finish: closing with bytes unread would be a reset, and
        take the answer with it.
        """
        if not self._is_closing:
            self._is_closing = True
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.stream.transport_stream.send_eof()
                with trio.move_on_after(LINGER_S):
                    await self._heard_all.wait()
        await trio.aclose_forcefully(self.stream)


def _state_of(stream: trio.SSLStream[trio.SocketStream]) -> dict[str, Any]:
    """Who the other side is; nothing when it presented no certificate."""
    certificate: dict[str, Any] | None = stream.getpeercert()
    if not certificate:
        return {}
    valid_until = ssl.cert_time_to_seconds(certificate["notAfter"])
    return {"peer": peer_of(certificate), "valid_until": valid_until}


hypercorn.trio.run.TCPServer = _PeerServer  # pyright: ignore[reportPrivateImportUsage]
