"""The daemon's own server refuses what it cannot answer, and goes on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio

from p2pdaemon.host_api import HostApi
from p2pdeploy.codec import FrameReader, decode, encode, frame
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.host import HostReply, HostSeal, Logs, LogsRequest, Refusal

HELLO = ServiceName("hello")
SEAL = HostSeal("t" * 43)


async def ask(stream: trio.SocketStream, request: LogsRequest) -> HostReply:
    await stream.send_all(frame(SEAL.seal_request(encode(request))))
    reader = FrameReader()
    while data := await stream.receive_some():
        reader.feed(data)
        for sealed in reader:
            return decode(SEAL.open_reply(sealed), HostReply, bytes_max=1 << 20)
    raise AssertionError("closed without an answer")


@pytest.fixture
async def api(config, store, nursery):
    served = HostApi(SimpleNamespace(requests_dropped=0), store, SEAL)
    await nursery.start(served.serve, config.address, 7947)
    return served


async def test_a_log_replaced_by_a_folder_is_refused_and_the_server_goes_on(api, config, store):
    log = store.log_path(HELLO)
    log.mkdir(parents=True)
    async with await trio.open_tcp_stream(config.address, 7947) as stream:
        reply = await ask(stream, LogsRequest(service=HELLO))
    assert isinstance(reply, Refusal)
    assert reply.error.code == "log-unreadable"
    log.rmdir()
    log.write_text("fine again\n")
    async with await trio.open_tcp_stream(config.address, 7947) as stream:
        reply = await ask(stream, LogsRequest(service=HELLO))
    assert reply == Logs(service=HELLO, lines=["fine again"])
