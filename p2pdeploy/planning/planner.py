"""The planner: a build, a target and limits -> one plan per cell.  Pure, safe to run twice.

``p2pctl rollout plan`` shows what this returns, ``apply`` stores it, and the simulator runs it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import msgspec

from p2pdeploy.codec import encode
from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import CellId, HostName, RolloutId, ServiceName
from p2pdeploy.limits import CELL_HOSTS_MAX, CLOCK_ERROR_S, LEASE_S
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.orders import (
    Build,
    FaultDomainPlan,
    Plan,
    Revert,
    Roster,
    RosterMember,
)
from p2pdeploy.topology import Host, fault_domains_of

__all__ = ["CellFacts", "CellPlan", "Limits", "plan_cell", "resolve_max_unavailable"]

PLAN_LIFETIME_S = 24 * 3600.0  # a plan nobody finished in a day is looked at by a person
_SHARE = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?%")
_SLACK_S = 10.0  # scheduling, fsync and process start on a loaded host


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one rollout, as asked for; None takes the default.

    ``stop_timeout_s``, ``start_timeout_s`` and ``bake_s`` of the service come from its
    service.toml; the larger bake of the two counts.
    """

    failure_fraction_max: float = 0.1
    max_unavailable: int | str | None = None
    bake_s: float = 0.0
    settle_s: float = 5.0
    stop_timeout_s: float = 10.0
    start_timeout_s: float = 30.0

    @property
    def activation_max_s(self) -> float:
        """From STARTED to an outcome: stop and start twice (there and back), bake, slack."""
        return 2 * (self.stop_timeout_s + self.start_timeout_s) + self.bake_s + _SLACK_S


class CellFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one cell and service.

    ``hosts`` are the targets, alive or not; ``whole_cell`` says that they are all there are.
    """

    cell: CellId
    hosts: tuple[Host, ...]
    alive: frozenset[HostName]
    evidence: Mapping[HostName, Attestation]
    baseline: Build | None  # what the cell settled on
    bare: tuple[HostName, ...] = ()  # targets that go back to nothing, because they had nothing
    settled_hosts: tuple[HostName, ...] = ()  # whom the baseline concerns beside the targets
    plan_seq_max: int  # highest ever used or seen for this service here
    whole_cell: bool = True


class CellPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One cell's part of a rollout.

    ``absent`` are down now and converge later; ``unchanged`` are healthy with the build already, as
    far as they have said: a host that runs it and is not healthy starts it again.  ``only`` lists
    the targets when they are not the whole cell, and ``concerned`` those and whom the settlement
    before concerned.
    """

    plan: Plan
    revert: Revert
    roster: Roster
    absent: tuple[HostName, ...]
    unchanged: tuple[HostName, ...]
    only: tuple[HostName, ...] = ()
    concerned: tuple[HostName, ...] = ()


def plan_cell(
    facts: CellFacts,
    *,
    service: ServiceName,
    build: Build,
    rollout_id: RolloutId,
    limits: Limits,
    now: float,
) -> CellPlan | None:
    """Plan one cell, or return None when none of its target hosts is alive.

    Fault domains come in name order, the first batch is one host of the first of them.

    Raises:
        RefusedError: no target hosts, too many for a cell, or limits that contradict themselves.
    """
    _check(facts, limits)
    present = [host for host in facts.hosts if host.name in facts.alive]
    if not present:
        return None
    unavailable_max = resolve_max_unavailable(limits, [host.fault_domain for host in present])
    domains, members = _in_order(present, limits.failure_fraction_max, unavailable_max)
    # The way back of the last plan took its number + 1; two higher leaves it alone.
    plan_seq = facts.plan_seq_max + 2
    roster = Roster(cell=facts.cell, service=service, plan_seq=plan_seq, members=tuple(members))
    plan = Plan(
        cell=facts.cell,
        service=service,
        rollout_id=rollout_id,
        plan_seq=plan_seq,
        kind="install",
        build=build,
        baseline=facts.baseline,
        roster_digest=digest_of(encode(roster)),
        fault_domains=tuple(domains),
        max_unavailable=unavailable_max,
        brakes_max=max(domain.failures_max for domain in domains) + 1,
        bake_s=limits.bake_s,
        settle_s=limits.settle_s,
        activation_max_s=limits.activation_max_s,
        lease_s=LEASE_S,
        clock_error_s=CLOCK_ERROR_S,
        issued_at=now,
        expires_at=now + PLAN_LIFETIME_S,
    )
    return CellPlan(
        plan=plan,
        revert=_revert_of(plan, facts.bare),
        roster=roster,
        absent=tuple(h.name for h in facts.hosts if h.name not in facts.alive),
        unchanged=tuple(h.name for h in present if _keeps(facts.evidence.get(h.name), build)),
        only=() if facts.whole_cell else tuple(h.name for h in facts.hosts),
        concerned=_concerned(facts),
    )


def _concerned(facts: CellFacts) -> tuple[HostName, ...]:
    """Whom the settlement after a way back concerns; empty: the whole cell."""
    targets = {host.name for host in facts.hosts}
    if facts.settled_hosts:
        return tuple(sorted(targets.union(facts.settled_hosts)))
    return () if facts.whole_cell else tuple(sorted(targets))


def _in_order(
    hosts: list[Host], failure_fraction: float, unavailable_max: int
) -> tuple[list[FaultDomainPlan], list[RosterMember]]:
    """The fault domains in activation order, and every host's place in them."""
    domains: list[FaultDomainPlan] = []
    members: list[RosterMember] = []
    for index, (name, inside) in enumerate(fault_domains_of(hosts).items()):
        failures_max, batches = _batches(len(inside), index == 0, failure_fraction, unavailable_max)
        domains.append(
            FaultDomainPlan(
                name=name, size=len(inside), failures_max=failures_max, batches=tuple(batches)
            )
        )
        numbers = [number for number, size in enumerate(batches) for _ in range(size)]
        members += [RosterMember(h.name, index, n) for h, n in zip(inside, numbers, strict=True)]
    return domains, members


def resolve_max_unavailable(limits: Limits, fault_domains: Sequence[str]) -> int:
    """The number of hosts that may be down because of the plan at one time.

    Args:
        limits: With a number, a share such as ``"25%"`` or None.
        fault_domains: The fault domain of every roster host.

    Returns:
        The number; for None, one whole fault domain and the failures allowed in it.

    Raises:
        RefusedError: not a positive number or share, or more than a cell may have hosts.
    """
    asked = limits.max_unavailable
    if asked is None:
        sizes = [fault_domains.count(name) for name in set(fault_domains)]
        return max(n + math.floor(limits.failure_fraction_max * n) for n in sizes)
    if isinstance(asked, int):
        number = asked
    else:
        if not _SHARE.fullmatch(asked):
            raise RefusedError(
                f"max_unavailable {asked[:20]!r} is not a number of hosts or a share like 25%",
                code="bad-limit",
            )
        number = max(1, math.floor(float(asked[:-1]) / 100 * len(fault_domains)))
    if not 1 <= number <= CELL_HOSTS_MAX:
        raise RefusedError(
            f"max_unavailable must be between 1 and {CELL_HOSTS_MAX}", code="bad-limit"
        )
    return number


def _check(facts: CellFacts, limits: Limits) -> None:
    if not facts.hosts:
        raise RefusedError(
            "the target names no hosts", hint="see 'p2pctl hosts'", code="empty-target"
        )
    if len(facts.hosts) > CELL_HOSTS_MAX:
        raise RefusedError(
            f"cell {facts.cell} has {len(facts.hosts)} hosts, at most {CELL_HOSTS_MAX} allowed",
            code="cell-too-large",
        )
    if not 0 <= limits.failure_fraction_max < 1:
        raise RefusedError("the failure fraction must be in [0, 1)", code="bad-limit")
    if not (0 <= limits.bake_s <= PLAN_LIFETIME_S and 0 <= limits.settle_s <= PLAN_LIFETIME_S):
        raise RefusedError(
            f"bake and settle must be between 0 and {PLAN_LIFETIME_S:g} s, a plan's lifetime",
            code="bad-limit",
        )


def _batches(
    size: int, first: bool, failure_fraction: float, unavailable_max: int
) -> tuple[int, list[int]]:
    """(failures_max, batch sizes) of one fault domain of *size* hosts.

    A batch and the failures allowed beside it never exceed ``max_unavailable`` together.
    """
    failures_max = min(math.floor(failure_fraction * size), unavailable_max - 1)
    width = unavailable_max - failures_max
    batches = [1] if first else []
    rest = size - sum(batches)
    count = math.ceil(rest / width)
    batches += [rest // count + (1 if n < rest % count else 0) for n in range(count)]
    return failures_max, batches


def _revert_of(plan: Plan, bare: tuple[HostName, ...]) -> Revert:
    return Revert(
        cell=plan.cell,
        service=plan.service,
        rollout_id=plan.rollout_id,
        plan_seq=plan.plan_seq + 1,
        build=plan.baseline,
        roster_digest=plan.roster_digest,
        max_unavailable=plan.max_unavailable,
        activation_max_s=plan.activation_max_s,
        lease_s=plan.lease_s,
        clock_error_s=plan.clock_error_s,
        issued_at=plan.issued_at,
        bare=bare,
    )


def _keeps(word: Attestation | None, build: Build) -> bool:
    """Whether a host leaves its service alone: one that is not healthy with *build* starts it."""
    if word is None or word.state != "healthy":
        return False
    return (word.version, word.digest) == (build.version, build.digest)
