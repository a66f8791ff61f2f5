"""The one UDP socket of a host's gossip: packets in, packets out, what does not hold counted."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager

import trio

from p2pdeploy.errors import P2PDeployError, ProtocolError, TrustError
from p2pdeploy.gossip.effects import SendDatagram
from p2pdeploy.gossip.refusals import Refusals
from p2pdeploy.gossip.statistics import ShellStatistics
from p2pdeploy.gossip.wire import PacketSeal
from p2pdeploy.limits import DATAGRAM_BYTES_MAX
from p2pdeploy.messages.gossip import Packet

__all__ = ["DatagramDoor"]

RECEIVE_AGAIN_S = 0.1  # less than a round of probes, and no busy loop


class DatagramDoor:
    """Sends and receives datagrams under the keys of the cell.

    Args:
        seal: Seals and opens them.
        refusals: To whom nothing is sent.
        is_heard: Whether the sender of a packet is not refused.
        statistics: Where all of it is counted.
    """

    def __init__(
        self,
        seal: PacketSeal,
        refusals: Refusals,
        is_heard: Callable[[Packet], bool],
        statistics: ShellStatistics,
    ) -> None:
        self._seal = seal
        self._refusals = refusals
        self._is_heard = is_heard
        self._statistics = statistics
        self._socket: socket.socket | None = None
        self._trio_socket: trio.socket.SocketType | None = None

    @property
    def is_open(self) -> bool:
        """Whether datagrams can be sent now."""
        return self._socket is not None

    @contextmanager
    def open(self, udp: socket.socket) -> Generator[None]:
        """Use *udp* inside; it is closed at the end."""
        with udp, trio.socket.from_stdlib_socket(udp) as datagrams:
            self._socket, self._trio_socket = udp, datagrams
            try:
                yield
            finally:
                self._socket = self._trio_socket = None

    async def receive_datagrams(self, take: Callable[[Packet, str, int], None]) -> None:
        """Call *take* with each good packet, its address and port; until cancelled."""
        assert self._trio_socket is not None, "datagrams are received only while open"
        while True:
            try:
                # One byte more than allowed, so that an oversized datagram shows.
                data, (address, port) = await self._trio_socket.recvfrom(DATAGRAM_BYTES_MAX + 1)
            except OSError:  # the network is down, or the kernel has no memory for it
                await trio.sleep(RECEIVE_AGAIN_S)
                continue
            self._statistics.bytes_received += len(data)
            try:
                packet = self._seal.open_datagram(data)
            except TrustError as error:
                if error.code == "replayed":
                    self._statistics.dropped_replayed += 1
                else:
                    self._statistics.dropped_mac += 1
            except ProtocolError:
                self._statistics.dropped_malformed += 1
            else:
                if self._is_heard(packet):
                    take(packet, address, port)

    def send(self, effect: SendDatagram) -> None:
        """Never waits: a full socket buffer loses the datagram, as the network might."""
        assert self._socket is not None, "datagrams are sent only while running"
        if effect.address in self._refusals.addresses:
            self._statistics.dropped_refused += 1
            return
        try:
            data = self._seal.seal_datagram(effect.packet)
            self._socket.sendto(data, (effect.address, effect.port))
        except (OSError, P2PDeployError):
            self._statistics.dropped_unsendable += 1
        else:
            self._statistics.bytes_sent += len(data)
