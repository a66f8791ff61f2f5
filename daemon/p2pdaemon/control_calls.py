"""One pool of connections to the control plane: bounded calls, and their failures in our words.

Every call is bounded in time and bytes, and binds our address.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx2
import trio

from p2pdaemon.answers import read_body
from p2pdeploy.errors import UnavailableError
from p2pdeploy.messages.refusal import refusal_of

__all__ = ["CALL_TIMEOUT_S", "SMALL_BYTES_MAX", "Calls", "open_calls"]

CALL_TIMEOUT_S = 10.0  # small answers; a control plane that takes longer is as good as down
KEEPALIVE_S = 60.0  # longer than the longest pause between two calls of an idle daemon
SMALL_BYTES_MAX = 64 * 1024

_MSGPACK = "application/x-msgpack"


class Calls:
    """Sends requests.  Made by :func:`open_calls`."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    def get(
        self, path: str, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> AbstractAsyncContextManager[httpx2.Response]:
        """Send one; inside, the answer is to be read, whose status is good.

        Raises:
            UnavailableError: no answer in time; ask again later.
            P2PDeployError: what the control plane refuses it with.
        """
        return self._answer(self._client.build_request("GET", path), timeout_s)

    def post(
        self, path: str, content: bytes, *, timeout_s: float
    ) -> AbstractAsyncContextManager[httpx2.Response]:
        """The same with *content*, a message."""
        headers = {"Content-Type": _MSGPACK}
        request = self._client.build_request("POST", path, content=content, headers=headers)
        return self._answer(request, timeout_s)

    @asynccontextmanager
    async def _answer(
        self, request: httpx2.Request, timeout_s: float
    ) -> AsyncGenerator[httpx2.Response]:
        try:
            with trio.fail_after(timeout_s):
                answer = await self._client.send(request, stream=True)
                try:
                    if not answer.is_success:
                        raise refusal_of(
                            answer.status_code,
                            await read_body(answer, SMALL_BYTES_MAX),
                            where=str(request.url),
                            unclear=UnavailableError,
                        )
                    yield answer
                finally:
                    await _close(answer)
        except trio.TooSlowError as error:
            raise UnavailableError(
                f"no answer within {timeout_s:g} s", where=str(request.url)
            ) from error
        except httpx2.HTTPError as error:
            raise UnavailableError(
                f"control plane not reachable: {error or type(error).__name__}",
                where=str(request.url),
            ) from error


@asynccontextmanager
async def open_calls(
    api: str, context: ssl.SSLContext, address: str, *, connections_max: int
) -> AsyncGenerator[Calls]:
    """A pool to *api* that speaks from *address*; closes its connections at the end.

    *context*: what we present, and that it is the control plane we talk to (``client_context``).
    """
    limits = httpx2.Limits(
        max_connections=connections_max,
        max_keepalive_connections=connections_max,
        keepalive_expiry=KEEPALIVE_S,
    )
    transport = httpx2.AsyncHTTPTransport(
        local_address=address,
        limits=limits,
        trust_env=False,
        verify=context,
    )
    async with httpx2.AsyncClient(
        base_url=api,
        timeout=httpx2.Timeout(None),  # trio bounds every call as a whole
        transport=transport,
        trust_env=False,  # no proxy of the environment stands between us and the control plane
        follow_redirects=False,
    ) as client:
        yield Calls(client)


async def _close(answer: httpx2.Response) -> None:
    with trio.move_on_after(1.0) as scope:
        scope.shield = True  # a cancelled call must give its connection back
        await answer.aclose()
