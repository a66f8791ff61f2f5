"""One simulated host's gossip: the production core, its timers, datagrams and streams."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from p2pdeploy.activation.events import MembersChanged, MessageMerged
from p2pdeploy.gossip import effects as gos
from p2pdeploy.gossip import events as gev
from p2pdeploy.gossip.core import GossipCore
from p2pdeploy.messages.gossip import Packet
from p2psim.life import Life
from p2psim.network import Network
from p2psim.world import World

__all__ = ["HostGossip"]


class HostGossip:
    """Carries out what the core asks; what the core says goes to *tell*.

    ``core`` is None while the daemon is down.  ``peers`` finds others by address.
    """

    def __init__(
        self,
        name: str,
        life: Life,
        world: World,
        network: Network,
        tell: Callable[[MessageMerged | MembersChanged], None],
    ) -> None:
        self.core: GossipCore | None = None
        self.peers: dict[str, HostGossip] = {}
        self._name = name
        self._life, self._world, self._network = life, world, network
        self._tell = tell

    def handle(self, event: gev.Event) -> None:
        if self.core is None:
            return
        changed = False
        for effect in self.core.handle(event, self._world.now_s):
            match effect:
                case gos.ReplyStream():
                    raise AssertionError("streams are answered in answer_stream")
                case gos.ItemMerged():
                    self._tell(MessageMerged(effect.message))
                case gos.MemberChanged():
                    changed = True
                case _:
                    self._carry_out(effect)
        if changed:
            self._tell_members()

    def _carry_out(self, effect: gos.SendDatagram | gos.SendStream | gos.SetTimer) -> None:
        match effect:
            case gos.SendDatagram():
                self._send(effect.address, effect.packet)
            case gos.SendStream():
                self._call(effect)
            case gos.SetTimer():
                fire = partial(self.handle, gev.TimerFired(effect.timer))
                self._life.later(effect.at - self._world.now_s, fire)

    def _tell_members(self) -> None:
        if self.core is not None:
            self._tell(MembersChanged(self.core.alive_members()))

    def _send(self, address: str, packet: Packet) -> None:
        peer = self.peers.get(address)
        if peer is None:
            return
        event = gev.PacketReceived(self._name, 1, packet)
        self._network.send(self._name, address, lambda: peer.arrive(partial(peer.handle, event)))

    def arrive(self, action: Callable[[], None]) -> None:
        """Something came over the network."""
        if self._life.up:
            self._life.later(0.0, action)

    def _call(self, call: gos.SendStream) -> None:
        """One request and one reply; whatever goes wrong is a StreamFailed."""
        peer = self.peers.get(call.address)
        sent = peer is not None and peer.is_up
        if sent and peer is not None:
            asked = partial(peer.arrive, partial(self._ask, peer, call))
            sent = self._network.send(self._name, call.address, asked, reliable=True)
        if not sent:
            self._fail_soon(call)

    def _ask(self, peer: HostGossip, call: gos.SendStream) -> None:
        """The request has arrived at *peer*: its reply goes back."""
        reply = peer.answer_stream(call.request)
        answered = partial(self.arrive, partial(self._take_reply, call, reply))
        if not self._network.send(call.address, self._name, answered, reliable=True):
            self._fail_soon(call)

    def _take_reply(self, call: gos.SendStream, reply: Packet | None) -> None:
        if reply is None:
            self._fail(call)
        else:
            self.handle(gev.StreamAnswered(call.address, call.port, call.request, reply))

    def _fail_soon(self, call: gos.SendStream) -> None:
        self._life.later(1.0, partial(self._fail, call))

    def _fail(self, call: gos.SendStream) -> None:
        self.handle(gev.StreamFailed(call.address, call.port, call.request))

    @property
    def is_up(self) -> bool:
        return self._life.up

    def answer_stream(self, request: Packet) -> Packet | None:
        """What this host replies to a stream request."""
        if self.core is None:
            return None
        reply: Packet | None = None
        merged: list[gos.ItemMerged] = []
        for effect in self.core.handle(gev.StreamRequested(1, request), self._world.now_s):
            match effect:
                case gos.ReplyStream():
                    reply = effect.reply
                case gos.ItemMerged():
                    merged.append(effect)
                case gos.MemberChanged():
                    pass
                case _:
                    self._carry_out(effect)
        for effect in merged:
            self._tell(MessageMerged(effect.message))
        self._tell_members()
        return reply
