"""A cell of gossip cores on one event heap: virtual time, lossy network, partitions, crashes.

Pure and deterministic: the same arguments give the same run.  Every packet passes the codec, so
a message that could not cross a wire doesn't here either.

    world = GossipWorld(hosts=50, seed=1, loss=0.3)
    world.publish("h01", attestation, key_id="host/h01")
    world.run_until(lambda: world.holders("att/web/h01") == 50, within_s=30)
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from random import Random

from p2pdeploy.codec import decode, encode
from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.gossip.core import GossipCore
from p2pdeploy.gossip.effects import (
    Effect,
    ItemMerged,
    MemberChanged,
    ReplyStream,
    SendDatagram,
    SendStream,
    SetTimer,
)
from p2pdeploy.gossip.events import (
    Event,
    LocalItemPublished,
    PacketReceived,
    SeedsLearned,
    Started,
    StreamAnswered,
    StreamFailed,
    StreamRequested,
    TimerFired,
)
from p2pdeploy.gossip.outbox import PACKET_BYTES_MAX
from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.limits import FRAME_BYTES_MAX
from p2pdeploy.messages.gossip import Member, Packet, Status
from p2pdeploy.testing.keyring import HmacKeyring
from p2pdeploy.trust.envelope import Sealed, open_envelope, seal

__all__ = ["CELL", "PORT", "GossipWorld", "a_member"]

CELL = CellId("lab.web.c0")
PORT = 7_000
LATENCY_S = (0.0005, 0.005)  # one way, drawn evenly: a loaded local network
STREAM_TIMEOUT_S = 2.0  # how long a connect into a partition takes to fail
STEPS_MAX = 5_000_000  # a run that needs more is a loop, not a test


def a_member(number: int, fault_domains: int = 3) -> Member:
    """Host number 1, 2, ... of a cell, spread over the fault domains in turn."""
    return Member(
        name=HostName(f"h{number:02}"),
        address=f"127.0.{number // 200}.{10 + number % 200}",
        gossip_port=PORT,
        swarm_port=PORT + 1,
        fault_domain=FaultDomain(f"fd{number % fault_domains}"),
    )


class GossipWorld:
    """Hosts ``h01``, ``h02``, ... that know each other from the start.

    Faults: ``loss`` (share of datagrams, may be changed at any time), :meth:`partition` and
    :meth:`heal`, :meth:`crash` and :meth:`restart`.  Streams lose nothing, but fail across a
    partition and to a host that is down.
    """

    def __init__(
        self,
        *,
        hosts: int,
        seed: int = 0,
        fault_domains: int = 3,
        loss: float = 0.0,
        config: GossipConfig | None = None,
        secret: bytes = b"k" * 32,
    ) -> None:
        self.now = 0.0
        self.loss = loss
        self.keys = HmacKeyring(secret)
        self.cores: dict[HostName, GossipCore] = {}
        self.sent: Counter[str] = Counter()  # datagrams and streams by the name of the message
        self.merged: dict[HostName, list[Sealed]] = {}
        self.changes: list[tuple[float, HostName, HostName, Status]] = []  # at, seen by, of whom
        self._seed = seed
        self._config = config or GossipConfig()
        self._network = Random(f"{seed}/network")
        self._heap: list[tuple[float, int, HostName, int, Event]] = []
        self._order = itertools.count()
        self._lives: Counter[HostName] = Counter()
        self._side: dict[HostName, int] = {}
        self._streams: dict[int, tuple[HostName, SendStream]] = {}
        self._members = {m.name: m for n in range(hosts) for m in [a_member(n + 1, fault_domains)]}
        self._at = {(m.address, m.gossip_port): m.name for m in self._members.values()}
        for name in self._members:
            self.restart(name)

    # --- what a test does --------------------------------------------------------------------

    @property
    def names(self) -> tuple[HostName, ...]:
        """Every host, down ones too, in name order."""
        return tuple(self._members)

    def publish(self, name: str, message: Sealed, *, key_id: str) -> None:
        """Seal *message* as *key_id* and give it to one host."""
        envelope = seal(message, self.keys.named(key_id))
        self.inject(HostName(name), LocalItemPublished(envelope))

    def inject(self, name: HostName, event: Event) -> None:
        """Let *event* happen to one host now."""
        self._carry_out(name, self.cores[name].handle(event, self.now))

    def partition(self, *sides: set[str]) -> None:
        """Only hosts of the same side hear each other; hosts not named form one more side."""
        self._side = {HostName(n): i for i, side in enumerate(sides, start=1) for n in side}

    def heal(self) -> None:
        """End every partition."""
        self._side = {}

    def crash(self, name: str) -> None:
        """Stop a host at once; everything in it is lost."""
        del self.cores[HostName(name)]

    def restart(self, name: str) -> None:
        """Start a host anew, knowing the inventory and nothing else."""
        host = HostName(name)
        self._lives[host] += 1
        life = "" if self._lives[host] == 1 else f"/{self._lives[host]}"
        rng = Random(f"{self._seed}/{host}/gossip{life}")
        self.cores[host] = GossipCore(self._members[host], CELL, self._config, rng, self._verify)
        self.merged[host] = []
        self.inject(host, SeedsLearned(tuple(self._members.values())))
        self.inject(host, Started())

    def run(self, duration_s: float) -> None:
        """Let time pass."""
        end = self.now + duration_s
        self._advance(end, lambda: False)
        self.now = end

    def run_until(self, holds: Callable[[], bool], *, within_s: float) -> float:
        """Let time pass until *holds*; return when that was, or fail after *within_s*."""
        if not self._advance(self.now + within_s, holds):
            raise AssertionError(f"not so within {within_s} s of virtual time")
        return self.now

    def holders(self, key: str) -> int:
        """How many running hosts hold an item under *key*."""
        return sum(core.state.get(key) is not None for core in self.cores.values())

    def views(self, name: str) -> dict[HostName, Status]:
        """What each other running host believes of *name*."""
        found = {
            viewer: member.status
            for viewer, core in self.cores.items()
            for member in core.members()
            if member.name == name and viewer != name
        }
        return dict(sorted(found.items()))

    def _verify(self, envelope: bytes) -> Sealed:
        return open_envelope(envelope, self.keys)

    # --- the world ---------------------------------------------------------------------------

    def _advance(self, end: float, holds: Callable[[], bool]) -> bool:
        for _ in range(STEPS_MAX):
            if holds():
                return True
            if not self._heap or self._heap[0][0] > end:
                return False
            self.now, _, name, life, event = heapq.heappop(self._heap)
            if name in self.cores and self._lives[name] == life:
                self.inject(name, event)
        raise AssertionError("the world never comes to rest")

    def _carry_out(self, name: HostName, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case SendDatagram():
                    self._send_datagram(name, effect)
                case SendStream():
                    self._open_stream(name, effect)
                case ReplyStream():
                    self._reply_stream(name, effect)
                case SetTimer(timer=timer, at=at):
                    self._later(name, TimerFired(timer), at - self.now)
                case ItemMerged(message=message):
                    self.merged[name].append(message)
                case MemberChanged(member=member):
                    self.changes.append((self.now, name, member.name, member.status))

    def _later(self, name: HostName, event: Event, delay_s: float) -> None:
        at = self.now + max(0.0, delay_s)
        heapq.heappush(self._heap, (at, next(self._order), name, self._lives[name], event))

    def _send_datagram(self, name: HostName, effect: SendDatagram) -> None:
        self.sent[_name_of(effect.packet)] += 1
        target = self._reached(name, effect.address, effect.port)
        packet = _crossed(effect.packet, PACKET_BYTES_MAX)
        if target is None or self._network.random() < self.loss:
            return
        me = self._members[name]
        event = PacketReceived(me.address, me.gossip_port, packet)
        self._later(target, event, self._network.uniform(*LATENCY_S))

    def _open_stream(self, name: HostName, effect: SendStream) -> None:
        self.sent[_name_of(effect.request)] += 1
        target = self._reached(name, effect.address, effect.port)
        if target is None:
            failed = StreamFailed(effect.address, effect.port, effect.request)
            self._later(name, failed, STREAM_TIMEOUT_S)
            return
        stream = next(self._order)
        self._streams[stream] = (name, effect)
        request = StreamRequested(stream, _crossed(effect.request, FRAME_BYTES_MAX))
        self._later(target, request, self._network.uniform(*LATENCY_S))

    def _reply_stream(self, name: HostName, effect: ReplyStream) -> None:
        caller, call = self._streams.pop(effect.stream)
        event: Event = StreamFailed(call.address, call.port, call.request)
        if effect.reply is not None and self._same_side(name, caller):
            reply = _crossed(effect.reply, FRAME_BYTES_MAX)
            event = StreamAnswered(call.address, call.port, call.request, reply)
        self._later(caller, event, self._network.uniform(*LATENCY_S))

    def _reached(self, sender: HostName, address: str, port: int) -> HostName | None:
        target = self._at.get((address, port))
        if target is None or target not in self.cores or not self._same_side(sender, target):
            return None
        return target

    def _same_side(self, one: HostName, other: HostName) -> bool:
        return self._side.get(one, 0) == self._side.get(other, 0)


def _name_of(packet: Packet) -> str:
    return "rumours" if packet.message is None else type(packet.message).__name__


def _crossed(packet: Packet, bytes_max: int) -> Packet:
    """The packet as the other side decodes it."""
    return decode(encode(packet), Packet, bytes_max=bytes_max)
