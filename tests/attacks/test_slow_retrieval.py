"""Slow retrieval: who answers a byte at a time holds a host no longer than silence does."""

from __future__ import annotations

import ssl

import pytest
import trio

from p2pdaemon import control
from p2pdaemon.control import open_control_plane
from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import Digest

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the answers of this file come in the clear
LENGTH_BYTES = 10_000
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LENGTH_BYTES
DRIP_S = 0.02  # 200 s in all; far below any timeout between two reads


async def drip(stream: trio.SocketStream) -> None:
    """Answer one request with one byte every DRIP_S."""
    await stream.receive_some()
    try:
        await stream.send_all(HEAD)
        for _ in range(LENGTH_BYTES):
            await stream.send_all(b"x")
            await trio.sleep(DRIP_S)
    except trio.BrokenResourceError:
        return  # cut off, as it should be


async def test_slow_retrieval_of_a_manifest_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "BULK_TIMEOUT_S", 0.5)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    api = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, drip, [listener])
        async with open_control_plane(api, context=NO_TLS, address="127.0.0.78") as plane:
            with trio.fail_after(20), pytest.raises(UnavailableError, match=r"within 0\.5 s"):
                await plane.fetch_manifest(Digest("0" * 64))
        nursery.cancel_scope.cancel()
