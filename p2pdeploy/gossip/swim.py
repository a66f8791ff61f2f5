"""Who is alive: SWIM with Lifeguard's three additions, as a pure state machine.

* Every interval one member is probed: a ping; if silent, three others are asked to ping it and
  a stream is tried; if nothing comes back within the interval, it is suspected.
* A suspect refutes by raising its incarnation.  If it does not in time it is *unreachable*:
  a state, never a removal.  Unreachable members go on being tried, so partitions heal.
* Lifeguard: confirmations shorten a suspicion; a host that seems unwell itself probes more
  slowly; a suspect is told of the suspicion by whoever talks to it (buddy).

Sources: SWIM (https://www.cs.cornell.edu/projects/Quicksilver/public_pdfs/SWIM.pdf), Lifeguard
(https://arxiv.org/abs/1707.00788).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from p2pdeploy.gossip.beliefs import Beliefs
from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.gossip.effects import (
    Call,
    MemberChanged,
    ProbeDue,
    ProbeTimedOut,
    RelayTimedOut,
    Say,
    SetTimer,
    Spread,
    UnreachableProbeDue,
)
from p2pdeploy.gossip.members import is_alive
from p2pdeploy.ids import HostName
from p2pdeploy.messages.gossip import (
    Ack,
    Member,
    MemberRumour,
    Nack,
    Ping,
    PingRequest,
    Status,
)

if TYPE_CHECKING:
    from random import Random

__all__ = ["Swim", "SwimEffect"]

# Pings under way for others; each lives less than a second.  Above it, requests go unanswered.
RELAYS_MAX = 64
_TOKEN_BITS = 48  # random start, so that an answer to an earlier life matches nothing


SwimEffect = Say | Call | Spread | SetTimer | MemberChanged


class _Probe(msgspec.Struct):
    token: int
    name: HostName
    helpers: int = 0
    nacks: int = 0


class _Relay(msgspec.Struct, frozen=True):
    address: str
    port: int
    token: int  # the asker's


class Swim:
    """One host's prober.  Methods say what happened; they return what is to be done."""

    def __init__(self, beliefs: Beliefs, config: GossipConfig, rng: Random) -> None:
        self._beliefs = beliefs
        self._name = beliefs.me.name
        self._config = config
        self._rng = rng
        self._token = rng.getrandbits(_TOKEN_BITS)
        self._probe: _Probe | None = None  # the one under way and not answered yet
        self._round: list[HostName] = []
        self._relays: dict[int, _Relay] = {}

    def start(self, now: float) -> list[SwimEffect]:
        """Begin probing, at a random moment so that hosts started together spread out."""
        config, rng = self._config, self._rng
        return [
            Spread(MemberRumour(self._beliefs.me)),
            SetTimer(ProbeDue(), now + rng.uniform(0, config.probe_interval_s)),
            SetTimer(
                UnreachableProbeDue(), now + rng.uniform(0, config.unreachable_probe_interval_s)
            ),
        ]

    # --- probing -----------------------------------------------------------------------------

    def probe_due(self, now: float) -> list[SwimEffect]:
        """Judge the last probe; begin the next one."""
        effects = self._judge_probe(now)
        factor = self._beliefs.health.factor
        effects.append(SetTimer(ProbeDue(), now + self._config.probe_interval_s * factor))
        target = self._next_target()
        if target is not None:
            token = self._next_token()
            self._probe = _Probe(token, target.name)
            effects.append(self._ping(target, token))
            timeout_s = self._config.probe_timeout_s * factor
            effects.append(SetTimer(ProbeTimedOut(token), now + timeout_s))
        return effects

    def _judge_probe(self, now: float) -> list[SwimEffect]:
        probe, self._probe = self._probe, None
        if probe is None:
            return []
        suspect = self._beliefs.members.get(probe.name)
        if suspect is None or not is_alive(suspect):
            return []
        # Helpers that say not even Nack mean that it is I who cannot hear.
        self._beliefs.health.worsen(probe.helpers - probe.nacks if probe.helpers else 1)
        return [*self._beliefs.accuse(suspect, now)]

    def probe_timed_out(self, token: int) -> list[SwimEffect]:
        """The direct ping was not answered in time: ask others, and try a stream."""
        probe = self._probe
        if probe is None or probe.token != token:
            return []
        target = self._beliefs.members.get(probe.name)
        if target is None or not is_alive(target):
            return []
        helpers = self._beliefs.members.pick(
            self._rng,
            self._config.indirect_probes,
            lambda m: m.status is Status.ALIVE and m.name != target.name,
        )
        probe.helpers = len(helpers)
        request = PingRequest(token, target.name, target.address, target.gossip_port)
        asked: list[SwimEffect] = [Say(m.address, m.gossip_port, request) for m in helpers]
        return [*asked, Call(target.address, target.gossip_port, Ping(token, target.name))]

    def unreachable_probe_due(self, now: float) -> list[SwimEffect]:
        """Ping one unreachable member; it refutes if it hears, and so comes back by itself."""
        again_at = now + self._config.unreachable_probe_interval_s
        effects: list[SwimEffect] = [SetTimer(UnreachableProbeDue(), again_at)]
        if self._beliefs.members.count(Status.UNREACHABLE):
            picked = self._beliefs.members.pick(
                self._rng, 1, lambda m: m.status is Status.UNREACHABLE
            )
            effects += [self._ping(member, self._next_token()) for member in picked]
        return effects

    def _ping(self, member: Member, token: int) -> Say:
        ping = Ping(token, member.name)
        return Say(member.address, member.gossip_port, ping, self._beliefs.accusation(member.name))

    def _next_target(self) -> Member | None:
        """The next member of a shuffled round; a new round when this one is through."""
        for _ in range(2):
            while self._round:
                member = self._beliefs.members.get(self._round.pop())
                if member is not None and is_alive(member):
                    return member
            self._round = self._beliefs.members.shuffled(self._rng)
        return None

    def _next_token(self) -> int:
        self._token += 1
        return self._token

    # --- answering ---------------------------------------------------------------------------

    def pinged(self, address: str, port: int, ping: Ping, sender: HostName) -> list[SwimEffect]:
        """Answer, if it is me who is meant."""
        if ping.target != self._name:
            return []
        return [Say(address, port, Ack(ping.token), self._beliefs.accusation(sender))]

    def ping_requested(
        self, address: str, port: int, request: PingRequest, now: float
    ) -> list[SwimEffect]:
        """Ping somebody for the one who asks from this address."""
        if len(self._relays) >= RELAYS_MAX:
            return []
        token = self._next_token()
        self._relays[token] = _Relay(address, port, request.token)
        timeout_s = self._config.probe_timeout_s * self._config.relay_timeout_share
        return [
            Say(request.address, request.gossip_port, Ping(token, request.target)),
            SetTimer(RelayTimedOut(token), now + timeout_s),
        ]

    def relay_timed_out(self, token: int) -> list[SwimEffect]:
        """Say Nack for a ping that was not answered; nothing if it was."""
        relay = self._relays.pop(token, None)
        return [] if relay is None else [Say(relay.address, relay.port, Nack(relay.token))]

    def acked(self, token: int) -> list[SwimEffect]:
        """A ping of mine, or one I sent for somebody else, was answered."""
        relay = self._relays.pop(token, None)
        if relay is not None:
            return [Say(relay.address, relay.port, Ack(relay.token))]
        if self._probe is not None and self._probe.token == token:
            self._probe = None
            self._beliefs.health.recover()
        return []

    def nacked(self, token: int) -> None:
        """A helper is well, only the target is silent."""
        if self._probe is not None and self._probe.token == token:
            self._probe.nacks += 1
