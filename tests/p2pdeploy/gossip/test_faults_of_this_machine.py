"""What fails on this machine costs a packet or a stream, never the gossip."""

from __future__ import annotations

import errno
from random import Random

import trio

from p2pdeploy.gossip import datagrams
from p2pdeploy.gossip.datagrams import DatagramDoor
from p2pdeploy.gossip.refusals import Refusals
from p2pdeploy.gossip.sockets import bind_sockets
from p2pdeploy.gossip.statistics import ShellStatistics
from p2pdeploy.gossip.stream_calls import call_peer
from p2pdeploy.gossip.wire import SALT_BYTES, PacketSeal
from p2pdeploy.messages.gossip import Packet, Ping
from p2pdeploy.testing.gossip_world import CELL, a_member
from p2pdeploy.trust.cell_keys import first_cell_keys

ADDRESS = f"127.88.{Random().randint(1, 250)}.7"


def a_seal(number: int) -> PacketSeal:
    salt = bytes([number]) * SALT_BYTES
    return PacketSeal(first_cell_keys(CELL, b"g" * 32), a_member(number).name, salt)


def a_ping() -> Packet:
    return Packet(CELL, a_member(2).name, Ping(1, a_member(1).name))


async def test_without_a_descriptor_left_a_call_comes_to_nothing(monkeypatch) -> None:
    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(trio.socket, "socket", none_left)
    assert (
        await call_peer(a_seal(1), a_ping(), own_address=ADDRESS, address=ADDRESS, port=9) is None
    )


async def test_a_network_that_was_down_is_heard_again(monkeypatch) -> None:
    """Real sockets, the first two reads of which the kernel fails."""
    monkeypatch.setattr(datagrams, "RECEIVE_AGAIN_S", 0.01)
    door = DatagramDoor(a_seal(1), Refusals(), lambda _: True, ShellStatistics())
    heard: list[Packet] = []
    udp, listener = await bind_sockets(ADDRESS, 0)
    async with listener:
        with door.open(udp):
            assert door._trio_socket is not None
            receive, faults = door._trio_socket.recvfrom, [errno.ENETDOWN, errno.ENOBUFS]

            async def recvfrom(size: int):
                if faults:
                    raise OSError(faults.pop(0), "down")
                return await receive(size)

            monkeypatch.setattr(door._trio_socket, "recvfrom", recvfrom)
            with trio.fail_after(10):
                async with trio.open_nursery() as nursery:

                    def take(packet: Packet, _address: str, _port: int) -> None:
                        heard.append(packet)
                        nursery.cancel_scope.cancel()

                    nursery.start_soon(door.receive_datagrams, take)
                    udp.sendto(a_seal(2).seal_datagram(a_ping()), udp.getsockname())
    assert (heard, faults) == ([a_ping()], [])
