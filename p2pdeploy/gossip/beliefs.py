"""What this host believes of the others, and how it defends what others believe of it.

Every belief that is new here is told on; one that is not newer than what is held changes
nothing, except that it may confirm a suspicion.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.gossip.effects import MemberChanged, SetTimer, Spread, SuspicionExpired
from p2pdeploy.gossip.members import UNHEARD, MemberTable, is_heard, supersedes
from p2pdeploy.gossip.suspicion import LocalHealth, Suspicion
from p2pdeploy.ids import HostName
from p2pdeploy.messages.gossip import INCARNATION_MAX, Member, MemberRumour, Status

__all__ = ["BeliefEffect", "Beliefs"]

BeliefEffect = Spread | SetTimer | MemberChanged


class Beliefs:
    """The membership table with its running suspicions and my own incarnation."""

    def __init__(self, me: Member, config: GossipConfig) -> None:
        self.members = MemberTable(me)
        self.health = LocalHealth(config.health_max)
        self._name = me.name
        self._config = config
        self._suspicions: dict[HostName, Suspicion] = {}

    @property
    def me(self) -> Member:
        """Myself, with my current incarnation."""
        me = self.members.get(self._name)
        assert me is not None, "I am put into the table first and nobody is removed"
        return me

    def accuse(self, suspect: Member, now: float) -> list[BeliefEffect]:
        """Suspect a member that did not answer me.

        Who was never heard is not known to be gone either: others are told nothing.
        """
        if not is_heard(suspect):
            silent = msgspec.structs.replace(suspect, status=Status.UNREACHABLE)
            self.members.put(silent)
            return [MemberChanged(silent)]
        accused = msgspec.structs.replace(suspect, status=Status.SUSPECT)
        return self.rumour_heard(MemberRumour(accused, self._name), now)

    def accusation(self, name: HostName) -> tuple[MemberRumour, ...]:
        """What a member should hear about itself from whoever talks to it (buddy)."""
        member = self.members.get(name)
        if member is None or member.status is Status.ALIVE or not is_heard(member):
            return ()
        return (MemberRumour(member),)

    def sender_heard(self, name: HostName, now: float) -> list[BeliefEffect]:
        """A packet of *name*'s own came: it has joined, and runs."""
        held = self.members.get(name)
        if held is None or is_heard(held):
            return []
        alive = msgspec.structs.replace(held, incarnation=0, status=Status.ALIVE)
        return self.rumour_heard(MemberRumour(alive), now)

    def rumour_heard(self, rumour: MemberRumour, now: float) -> list[BeliefEffect]:
        """Take a belief, mine or somebody's; what is new is told on."""
        told = rumour.member
        if told.name == self._name:
            return self._defend(told)
        held = self.members.get(told.name)
        if held is not None and not supersedes(told, held):
            return self._confirm(rumour, held, now)
        if not self.members.put(told):
            return []
        effects: list[BeliefEffect] = [Spread(rumour)]
        if held is None or not is_heard(held) or _differs(held, told):
            effects.append(MemberChanged(told))
        self._suspicions.pop(told.name, None)
        if told.status is Status.SUSPECT:
            suspicion = Suspicion(rumour.accuser, now, self.members.alive_count(), self._config)
            self._suspicions[told.name] = suspicion
            effects.append(_expiry(told, suspicion))
        return effects

    def _confirm(self, rumour: MemberRumour, held: Member, now: float) -> list[BeliefEffect]:
        told = rumour.member
        suspicion = self._suspicions.get(told.name)
        same = (told.incarnation, told.status) == (held.incarnation, held.status)
        if suspicion is None or not same or not suspicion.confirm(rumour.accuser):
            return []
        return [Spread(rumour), _expiry(held, suspicion, not_before=now)]

    def _defend(self, told: Member) -> list[BeliefEffect]:
        """Refute whatever is not true of me, be it from an earlier life."""
        me = self.me
        if me.status is Status.LEFT or told.incarnation < me.incarnation:
            return []
        if told.incarnation == me.incarnation and not _differs(told, me):
            return []
        if told.status in (Status.SUSPECT, Status.UNREACHABLE):
            self.health.worsen()
        incarnation = min(told.incarnation + 1, INCARNATION_MAX)
        me = msgspec.structs.replace(me, incarnation=incarnation)
        self.members.put(me)
        return [Spread(MemberRumour(me))]

    def suspicion_expired(self, name: HostName, incarnation: int, now: float) -> list[BeliefEffect]:
        """Call the suspect unreachable, unless it refuted or the timer is an outdated one."""
        suspicion, member = self._suspicions.get(name), self.members.get(name)
        if suspicion is None or member is None or member.incarnation != incarnation:
            return []
        if now < suspicion.deadline:
            return []
        gone = msgspec.structs.replace(member, status=Status.UNREACHABLE)
        return self.rumour_heard(MemberRumour(gone, self._name), now)

    def seeds_learned(self, seeds: tuple[Member, ...]) -> list[BeliefEffect]:
        """Take hosts from the inventory: known ones' new addresses, unknown ones to be tried.

        They are not alive before they were heard: some have a token and nothing else yet.
        """
        effects: list[BeliefEffect] = []
        for seed in seeds:
            held = self.members.get(seed.name)
            if seed.name == self._name or (held is not None and _same_place(held, seed)):
                continue
            if held is None:
                taken = msgspec.structs.replace(seed, incarnation=UNHEARD, status=Status.ALIVE)
            else:
                taken = msgspec.structs.replace(
                    seed, incarnation=held.incarnation, status=held.status
                )
            if self.members.put(taken):
                effects.append(MemberChanged(taken))
        return effects

    def leave(self) -> list[BeliefEffect]:
        """Say that I go, so that nobody has to suspect me."""
        me = msgspec.structs.replace(self.me, status=Status.LEFT)
        self.members.put(me)
        return [Spread(MemberRumour(me))]


def _same_place(a: Member, b: Member) -> bool:
    place_a = (a.address, a.gossip_port, a.swarm_port, a.fault_domain)
    return place_a == (b.address, b.gossip_port, b.swarm_port, b.fault_domain)


def _differs(a: Member, b: Member) -> bool:
    return a.status != b.status or not _same_place(a, b)


def _expiry(member: Member, suspicion: Suspicion, not_before: float = 0.0) -> SetTimer:
    timer = SuspicionExpired(member.name, member.incarnation)
    return SetTimer(timer, max(suspicion.deadline, not_before))
