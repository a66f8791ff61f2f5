"""The gossip core of one host on real sockets, under trio.

One UDP socket and one TCP listener on the host's own address; outgoing streams leave from it
too.  What is not under a key of the cell is dropped and counted before the core sees it.
:meth:`GossipShell.run` is the whole task tree.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from random import Random

import msgspec
import trio

from p2pdeploy.gossip.anti_entropy import Verify
from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.gossip.core import GossipCore
from p2pdeploy.gossip.datagrams import DatagramDoor
from p2pdeploy.gossip.effects import (
    Effect,
    ItemMerged,
    ItemsDropped,
    MemberChanged,
    Notice,
    ReplyStream,
    SendDatagram,
    SendStream,
    SetTimer,
    Timer,
)
from p2pdeploy.gossip.events import (
    Event,
    LeaveDecided,
    LocalItemPublished,
    LoopLagMeasured,
    PacketReceived,
    SeedsLearned,
    Started,
    StreamAnswered,
    StreamFailed,
    StreamRequested,
    TimerFired,
)
from p2pdeploy.gossip.loop_lag import measure_loop_lag
from p2pdeploy.gossip.refusals import Refusals
from p2pdeploy.gossip.sockets import bind_sockets
from p2pdeploy.gossip.state import CellState
from p2pdeploy.gossip.statistics import GossipStatistics, ShellStatistics
from p2pdeploy.gossip.stream_calls import StreamCalls
from p2pdeploy.gossip.stream_server import StreamServer
from p2pdeploy.gossip.timers import TimerHeap
from p2pdeploy.gossip.wire import SALT_BYTES, PacketSeal
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.gossip import Member, Packet
from p2pdeploy.trust.cell_keys import CellKeys

__all__ = ["GossipShell", "Listener"]

LAG_MEASURED_EVERY_S = 1.0

Listener = Callable[[Notice], None]


class GossipShell:
    """One host's gossip.

    Args:
        me: This host, with the address and port it binds.
        cell: Its cell.
        rng: For peers and jitter; owned by the shell from here on.
        verify: Opens an envelope or raises.
        keys: The ring of the cell; :meth:`use_keys` takes the next ones.
        config: Intervals and limits.
    """

    def __init__(
        self,
        *,
        me: Member,
        cell: CellId,
        rng: Random,
        verify: Verify,
        keys: CellKeys,
        config: GossipConfig | None = None,
    ) -> None:
        assert keys.cell == cell, "the keys of another cell"
        self._address, self._port = me.address, me.gossip_port
        self._core = GossipCore(me, cell, config or GossipConfig(), rng, verify)
        self._seal = PacketSeal(keys, me.name, os.urandom(SALT_BYTES))
        self._timers = TimerHeap()
        self._listeners: list[Listener] = []
        self._calls_nursery: trio.Nursery | None = None  # while running; owns outgoing streams
        self._replies: dict[int, Packet | None] = {}
        self._stream = 0
        self._statistics = ShellStatistics()
        self._refusals = Refusals()
        self._datagrams = DatagramDoor(self._seal, self._refusals, self._is_heard, self._statistics)
        self._calls = StreamCalls(self._seal, me.address, self._refusals, self._is_heard)
        self._server = StreamServer(self._seal, self._answer, self._is_heard, self._statistics)

    def __repr__(self) -> str:
        return f"<GossipShell {self._address}:{self._port}: {self._core!r}>"

    # --- for the daemon ----------------------------------------------------------------------

    @property
    def state(self) -> CellState:
        """The replica of the cell's state; read it, never write to it."""
        return self._core.state

    @property
    def me(self) -> Member:
        """Myself, with my current incarnation."""
        return self._core.me

    def members(self) -> tuple[Member, ...]:
        """Everybody who is not refused in name order: myself, and seeds that were not heard yet.

        Nor whoever stands at the address of one that is: until the keys are rotated, a revoked
        host can make up a member there, and would be let into the swarm again.
        """
        return self._refusals.without_refused(self._core.members(), own_address=self._address)

    def alive_members(self) -> frozenset[HostName]:
        """Who was heard and seems alive, suspects and myself included.  Hints, never evidence."""
        return self._core.alive_members() - self._refusals.names

    def statistics(self) -> tuple[GossipStatistics, ShellStatistics]:
        """Snapshots of the core's and the sockets' counters."""
        return self._core.statistics(), msgspec.structs.replace(self._statistics)

    def subscribe(self, listener: Listener) -> None:
        """Call *listener* with everything that is new, in order, from the gossip tasks.

        It must not block and must not raise; it may publish.  Nothing is queued here, so nothing
        is lost: a listener with a queue of its own decides what to do when that is full (the
        state can always be read again).
        """
        self._listeners.append(listener)

    def publish(self, envelope: bytes) -> None:
        """Verify *envelope*, merge it and tell the cell; listeners hear of it if it is new.

        Raises:
            TrustError, ProtocolError, RefusedError: it does not verify; nothing was changed.
        """
        self._dispatch(LocalItemPublished(envelope))

    def learn_seeds(self, members: tuple[Member, ...]) -> None:
        """Take the inventory's hosts of this cell; may be called again at any time."""
        self._dispatch(SeedsLearned(members))

    def use_keys(self, keys: CellKeys) -> None:
        """Take the cell's next ring of keys, at any time; no packet on its way is lost by it.

        Raises:
            TrustError: it is another cell's; nothing was changed.
        """
        self._seal.use(keys)

    def drop_unverified(self, *, attestations: bool) -> int:
        """Forget orders that no longer verify, after keys were rotated; returns how many.

        Listeners hear of it.  Who has them sealed anew tells us, as of anything that we lack.

        Args:
            attestations: Those as well: the keys that seal credentials changed.
        """
        dropped = self._core.drop_unverified(attestations=attestations)
        if dropped:
            self._tell(ItemsDropped(tuple(dropped)))
        return len(dropped)

    def refuse(self, hosts: Mapping[HostName, str]) -> None:
        """Hear nothing from these hosts and send nothing to their addresses; the whole list.

        They have the cell's keys until those are rotated.
        """
        self._refusals.replace(hosts)

    def leave(self) -> None:
        """Tell a few members that this host goes; cancel :meth:`run` afterwards."""
        if self._datagrams.is_open:
            self._dispatch(LeaveDecided())

    # --- the task tree -----------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bind, then gossip until cancelled; started once both sockets listen.

        Raises:
            ConfigError: the address is in use or not this machine's.
        """
        udp, listener = await bind_sockets(self._address, self._port)
        async with listener:
            with self._datagrams.open(udp):
                try:
                    async with trio.open_nursery() as nursery:
                        self._calls_nursery = nursery
                        nursery.start_soon(self._datagrams.receive_datagrams, self._take)
                        nursery.start_soon(self._server.serve_streams, listener)
                        nursery.start_soon(self._timers.fire_timers, self._fire)
                        nursery.start_soon(measure_loop_lag, LAG_MEASURED_EVERY_S, self._take_lag)
                        self._dispatch(Started())
                        task_status.started()
                finally:  # only when every task has ended: a last one may still want to send
                    self._calls_nursery = None

    def _take(self, packet: Packet, address: str, port: int) -> None:
        self._dispatch(PacketReceived(address, port, packet))

    def _is_heard(self, packet: Packet) -> bool:
        is_refused = packet.sender in self._refusals.names
        self._statistics.dropped_refused += is_refused
        return not is_refused

    def _answer(self, packet: Packet) -> Packet | None:
        self._stream += 1
        number = self._stream
        self._dispatch(StreamRequested(number, packet))
        return self._replies.pop(number)  # the core answers every request at once

    async def _call_peer(self, effect: SendStream) -> None:
        reply = await self._calls.call(effect)
        if reply is None:
            self._dispatch(StreamFailed(effect.address, effect.port, effect.request))
        else:
            self._dispatch(StreamAnswered(effect.address, effect.port, effect.request, reply))

    def _fire(self, timer: Timer) -> None:
        self._dispatch(TimerFired(timer))

    def _take_lag(self, lag_s: float) -> None:
        self._dispatch(LoopLagMeasured(lag_s))

    # --- effects -----------------------------------------------------------------------------

    def _dispatch(self, event: Event) -> None:
        for effect in self._core.handle(event, trio.current_time()):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case SendDatagram():
                self._datagrams.send(effect)
            case SendStream():
                self._open_stream(effect)
            case ReplyStream(stream=stream, reply=reply):
                self._replies[stream] = reply
            case SetTimer():
                self._timers.set(effect)
            case ItemMerged() | MemberChanged():
                self._tell(effect)

    def _tell(self, notice: Notice) -> None:
        for listener in self._listeners:
            listener(notice)

    def _open_stream(self, effect: SendStream) -> None:
        assert self._calls_nursery is not None, "streams are opened only while running"
        self._calls_nursery.start_soon(self._call_peer, effect)
