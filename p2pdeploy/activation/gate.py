"""When the hosts before me have done well enough for me to start.

Every gate is a threshold over the roster frozen in the plan and over positive facts that only
grow, so a partition can delay a start and never lets one through.  Membership may close a gate
(``live_hold``) and never opens one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from p2pdeploy.activation.bounds import some
from p2pdeploy.activation.events import Now
from p2pdeploy.activation.lease import Hold
from p2pdeploy.ids import HostName
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Plan, Roster, RosterMember

__all__ = [
    "attempt_hold",
    "brakes_hold",
    "doomed",
    "evidence_hold",
    "in_attempt",
    "interlock_hold",
    "live_hold",
    "member_of",
    "rank_in",
]

_FAILURES = (Rank.FAILED, Rank.REGRESSED)
Evidence = Mapping[HostName, Attestation]


def member_of(roster: Roster, host: HostName) -> tuple[int, RosterMember] | None:
    """The roster position and entry of *host*, or None when the plan does not count it."""
    for position, member in enumerate(roster.members):
        if member.host == host:
            return position, member
    return None


def in_attempt(evidence: Evidence, plan: Plan, attempt: int) -> Evidence:
    """*evidence* as it counts in this attempt at *plan*: outcomes of earlier ones are over.

    A host that has such an outcome accepted the plan and has nothing under way.
    """
    if not attempt:
        return evidence
    return {
        host: msgspec.structs.replace(word, rank=Rank.ACCEPTED)
        if word.plan_seq == plan.plan_seq and word.attempt < attempt and word.rank >= Rank.HEALTHY
        else word
        for host, word in evidence.items()
    }


def rank_in(evidence: Evidence, host: HostName, plan: Plan) -> Rank:
    """How far *host* is with *plan*, by its own word."""
    word = evidence.get(host)
    if word is None or word.plan_seq != plan.plan_seq:
        return Rank.NONE
    return word.rank


def interlock_hold(
    plan: Plan,
    roster: Roster,
    evidence: Evidence,
    excused: frozenset[HostName],
    predecessor_quiet_at: float,
    now: Now,
) -> Hold | None:
    """No two plans in flight: everybody left the old one, or it can't start any more."""
    missing = [
        member.host
        for member in roster.members
        if member.host not in excused and not _accepted(evidence.get(member.host), plan)
    ]
    if not missing:
        return None
    wait_s = predecessor_quiet_at + plan.clock_error_s - now.wall_s
    if wait_s < 0:
        return None
    return Hold(
        "interlock",
        f"{some(missing)} may still be busy with the plan before this one",
        now.boot_s + wait_s + 0.01,  # just past the instant: the comparison above is strict
    )


def attempt_hold(
    plan: Plan,
    roster: Roster,
    evidence: Evidence,
    excused: frozenset[HostName],
    attempt: int,
) -> Hold | None:
    """No two attempts in flight: everybody left the one before.

    Whoever attests this attempt has nothing under way of an earlier one and begins nothing of it
    any more.  No time replaces that; a host that is lost has to be excused.
    """
    missing = [
        member.host
        for member in roster.members
        if member.host not in excused and not _entered(evidence.get(member.host), plan, attempt)
    ]
    if not attempt or not missing:
        return None
    return Hold("interlock", f"{some(missing)} may still be busy with the attempt before this one")


def _entered(word: Attestation | None, plan: Plan, attempt: int) -> bool:
    return _accepted(word, plan) and word is not None and word.attempt >= attempt


def _accepted(word: Attestation | None, plan: Plan) -> bool:
    return word is not None and word.plan_seq == plan.plan_seq and word.rank >= Rank.ACCEPTED


def evidence_hold(
    plan: Plan,
    roster: Roster,
    me: RosterMember,
    evidence: Evidence,
    excused: frozenset[HostName],
) -> Hold | None:
    """None when every earlier fault domain and batch is finished, and well enough.

    Finished: each of its hosts attested an outcome or is excused, so that none of them can still
    be down because of this plan (``docs/adr/0010``).  Well enough: ``need`` of them are HEALTHY.
    """
    for step in _steps(plan, roster, evidence, excused):
        if (step.fault_domain, step.batch) >= (me.fault_domain, me.batch):
            return None
        if hold := step.hold():
            return hold
    return None


def doomed(plan: Plan, roster: Roster, evidence: Evidence, excused: frozenset[HostName]) -> str:
    """The fault domain or batch that can't become well enough any more; empty if there is none.

    What it holds up would wait for ever, so the control plane goes back instead.
    """
    for step in _steps(plan, roster, evidence, excused):
        if step.size - step.failed < step.need:
            return step.name
    return ""


class _Step(msgspec.Struct, frozen=True):
    """One batch, or (``batch`` past the last one) a whole fault domain, and what it must reach.

    Counts leave excused hosts out.
    """

    fault_domain: int
    batch: int
    name: str
    failures_max: int
    size: int = 0
    healthy: int = 0
    failed: int = 0

    @property
    def need(self) -> int:
        """How many must be HEALTHY; a batch whose hosts are all excused asks for nothing."""
        return max(1, self.size - self.failures_max) if self.size else 0

    def hold(self) -> Hold | None:
        if self.healthy < self.need:
            what = f"{self.name} has {self.healthy} of {self.need} healthy hosts"
            return Hold("evidence", what)
        left = self.size - self.healthy - self.failed
        if left:
            return Hold("evidence", f"{left} hosts of {self.name} have no outcome yet")
        return None


def _steps(
    plan: Plan, roster: Roster, evidence: Evidence, excused: frozenset[HostName]
) -> Iterator[_Step]:
    """Every batch and then its fault domain as a whole, in activation order."""
    counts: dict[tuple[int, int], list[int]] = {}
    for member in roster.members:
        if member.host in excused:
            continue
        count = counts.setdefault((member.fault_domain, member.batch), [0, 0, 0])
        rank = rank_in(evidence, member.host, plan)
        count[0] += 1
        count[1] += rank is Rank.HEALTHY
        count[2] += rank in _FAILURES
    for index, domain in enumerate(plan.fault_domains):
        whole = [0, 0, 0]
        for batch in range(len(domain.batches)):
            count = counts.get((index, batch), [0, 0, 0])
            allowed = max(0, domain.failures_max - whole[2])
            name = f"batch {batch + 1} of {domain.name}"
            yield _Step(index, batch, name, allowed, *count)
            whole = [a + b for a, b in zip(whole, count, strict=True)]
        yield _Step(index, len(domain.batches), domain.name, domain.failures_max, *whole)


def brakes_hold(plan: Plan, roster: Roster, evidence: Evidence) -> Hold | None:
    """None while fewer than ``brakes_max`` hosts failed or regressed under *plan*."""
    failed = [
        member.host
        for member in roster.members
        if rank_in(evidence, member.host, plan) in _FAILURES
    ]
    if len(failed) < plan.brakes_max:
        return None
    return Hold("brakes", f"{some(failed)} failed; the plan stops at {plan.brakes_max}")


def live_hold(
    plan: Plan,
    roster: Roster,
    me: RosterMember,
    evidence: Evidence,
    alive: frozenset[HostName],
    excused: frozenset[HostName],
) -> Hold | None:
    """None while membership sees enough hosts of the earlier fault domains alive.

    An excused host is not waited for, but one that is alive and in the middle of its change is
    down: its excuse came too late.
    """
    for index in range(me.fault_domain):
        domain = plan.fault_domains[index]
        hosts = [m.host for m in roster.members if m.fault_domain == index]
        for host in excused.intersection(hosts, alive):
            if rank_in(evidence, host, plan) is Rank.STARTED:
                return Hold("live-guard", f"{host} was excused in the middle of its change")
        hosts = [host for host in hosts if host not in excused]
        lost = [host for host in hosts if host not in alive]
        if len(lost) > domain.failures_max:
            return Hold("live-guard", f"{some(lost)} of {domain.name} cannot be reached")
    return None
