"""When the hosts before me have done well enough for me to start.

Every gate is a threshold over the roster frozen in the plan and over positive facts that only
grow, so a partition can delay a start and never lets one through.  Membership may close a gate
(``live_hold``) and never opens one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from p2pdeploy.activation.events import Now
from p2pdeploy.activation.lease import Hold
from p2pdeploy.ids import HostName
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Plan, Rollout, Roster, RosterMember

__all__ = [
    "bounds_hold",
    "brakes_hold",
    "evidence_hold",
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


def rank_in(evidence: Evidence, host: HostName, plan: Plan, attempt: int) -> Rank:
    """How far *host* is in this attempt of *plan*, by its own word."""
    word = evidence.get(host)
    if word is None or word.plan_seq != plan.plan_seq or word.attempt != attempt:
        return Rank.NONE
    return word.rank


def bounds_hold(plan: Plan, rollout: Rollout | None) -> Hold | None:
    """None when *plan* stays inside the bounds that were approved, else what it exceeds."""
    if rollout is None or rollout.rollout_id != plan.rollout_id:
        return Hold("rollout-unknown", f"rollout {plan.rollout_id} has not arrived yet")
    if plan.service != rollout.service or plan.build != rollout.build:
        return Hold("outside-rollout", "the plan's build is not the one that was approved")
    if plan.max_unavailable > rollout.max_unavailable:
        return Hold("outside-rollout", "the plan's max_unavailable is above the approved one")
    for domain in plan.fault_domains:
        if domain.failures_max > rollout.failure_fraction_max * domain.size:
            return Hold("outside-rollout", f"too many failures allowed in {domain.name}")
        if sum(domain.batches) != domain.size or plan.brakes_max <= domain.failures_max:
            return Hold("outside-rollout", f"the plan contradicts itself in {domain.name}")
        widest = max(domain.batches, default=0) + domain.failures_max
        if widest > plan.max_unavailable:
            return Hold("outside-rollout", f"a batch of {domain.name} is above max_unavailable")
    return None


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
        f"{_some(missing)} may still be busy with the plan before this one",
        now.boot_s + wait_s + 0.01,  # just past the instant: the comparison above is strict
    )


def _accepted(word: Attestation | None, plan: Plan) -> bool:
    return word is not None and word.plan_seq == plan.plan_seq and word.rank >= Rank.ACCEPTED


def evidence_hold(
    plan: Plan,
    roster: Roster,
    me: RosterMember,
    evidence: Evidence,
    excused: frozenset[HostName],
    attempt: int,
) -> Hold | None:
    """None when every earlier fault domain and batch is finished, and well enough.

    Finished: each of its hosts attested an outcome or is excused, so that none of them can still
    be down because of this plan (``docs/adr/0010``).  Well enough: ``need`` of them are HEALTHY.
    """
    tallies = _tally(plan, roster, evidence, excused, attempt)
    for index in range(me.fault_domain):
        domain = plan.fault_domains[index]
        whole = _Tally(0, 0, 0)
        for batch in range(len(domain.batches)):
            whole += tallies.get((index, batch), _Tally(0, 0, 0))
        if hold := whole.hold("fault-domain", domain.name, domain.failures_max):
            return hold
    domain = plan.fault_domains[me.fault_domain]
    failed_before = 0
    for batch in range(me.batch):
        tally = tallies.get((me.fault_domain, batch), _Tally(0, 0, 0))
        name = f"batch {batch + 1} of {domain.name}"
        if hold := tally.hold("batch", name, max(0, domain.failures_max - failed_before)):
            return hold
        failed_before += tally.failed
    return None


class _Tally(msgspec.Struct, frozen=True):
    """Roster hosts of one batch or fault domain that are not excused."""

    size: int
    healthy: int
    failed: int

    def __add__(self, other: _Tally) -> _Tally:
        return _Tally(
            self.size + other.size, self.healthy + other.healthy, self.failed + other.failed
        )

    def hold(self, code: str, name: str, failures_max: int) -> Hold | None:
        need = max(1, self.size - failures_max)
        if self.healthy < need:
            return Hold(code, f"{name} has {self.healthy} of {need} healthy hosts")
        left = self.size - self.healthy - self.failed
        if left:
            return Hold(code, f"{left} hosts of {name} have no outcome yet")
        return None


def _tally(
    plan: Plan, roster: Roster, evidence: Evidence, excused: frozenset[HostName], attempt: int
) -> dict[tuple[int, int], _Tally]:
    """The tally of each (fault domain, batch)."""
    tallies: dict[tuple[int, int], _Tally] = {}
    for member in roster.members:
        if member.host in excused:
            continue
        key = (member.fault_domain, member.batch)
        rank = rank_in(evidence, member.host, plan, attempt)
        one = _Tally(1, int(rank is Rank.HEALTHY), int(rank in _FAILURES))
        tallies[key] = tallies.get(key, _Tally(0, 0, 0)) + one
    return tallies


def brakes_hold(plan: Plan, roster: Roster, evidence: Evidence, attempt: int) -> Hold | None:
    """None while fewer than ``brakes_max`` hosts failed or regressed in this attempt."""
    failed = [
        member.host
        for member in roster.members
        if rank_in(evidence, member.host, plan, attempt) in _FAILURES
    ]
    if len(failed) < plan.brakes_max:
        return None
    return Hold("brakes", f"{_some(failed)} failed; the plan stops at {plan.brakes_max}")


def live_hold(
    plan: Plan,
    roster: Roster,
    me: RosterMember,
    alive: frozenset[HostName],
    excused: frozenset[HostName],
) -> Hold | None:
    """None while membership sees enough hosts of the earlier fault domains alive."""
    for index in range(me.fault_domain):
        domain = plan.fault_domains[index]
        hosts = [m.host for m in roster.members if m.fault_domain == index]
        hosts = [host for host in hosts if host not in excused]
        lost = [host for host in hosts if host not in alive]
        if len(lost) > domain.failures_max:
            return Hold("live-guard", f"{_some(lost)} of {domain.name} cannot be reached")
    return None


def _some(hosts: Iterable[HostName]) -> str:
    """At most three names: a reason is one short line."""
    names = sorted(hosts)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
