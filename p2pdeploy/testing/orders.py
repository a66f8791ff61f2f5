"""Builders of orders and attestations for tests; the plans come from the real planner.

cell_plan = a_plan(hosts=6)              # NEW over OLD, three fault domains
orders_of(cell_plan)                     # rollout, roster, plan, revert
a_go(activate(cell_plan))                # the lease that lets it start
"""

from __future__ import annotations

from collections.abc import Iterable

from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName, RolloutId, ServiceName, Version
from p2pdeploy.limits import LEASE_S
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Abort, Build, Go, Grant, Retry, Rollout, Settled, Target
from p2pdeploy.planning.bounds import bounds_of
from p2pdeploy.planning.planner import CellFacts, CellPlan, Limits, plan_cell
from p2pdeploy.topology import Host
from p2pdeploy.trust.envelope import Sealed

__all__ = [
    "CELL",
    "EPOCH_S",
    "NEW",
    "OLD",
    "WEB",
    "a_build",
    "a_go",
    "a_plan",
    "a_settled",
    "a_word",
    "abort_of",
    "activate",
    "an_abort",
    "hosts_of",
    "name_to_go_back",
    "orders_of",
    "retry_of",
    "rollout_of",
]

CELL = CellId("lab.web.c0")
WEB = ServiceName("web")
EPOCH_S = 1_800_000_000.0  # UTC when a test begins


def a_build(version: str) -> Build:
    """The build that stands for *version*."""
    return Build(version=Version(version), digest=digest_of(version.encode()))


OLD, NEW = a_build("1"), a_build("2")


def hosts_of(count: int, fault_domains: int) -> tuple[Host, ...]:
    """``h1`` stands in ``fd0``, ``h2`` in ``fd1`` and so on, round and round."""
    return tuple(
        Host(
            name=HostName(f"h{number + 1}"),
            address="127.0.0.1",
            environment="lab",
            machine_function="web",
            cell=CELL,
            fault_domain=FaultDomain(f"fd{number % fault_domains}"),
            gossip_port=1,
            swarm_port=1,
            host_port=1,
        )
        for number in range(count)
    )


def a_plan(
    *,
    build: Build = NEW,
    baseline: Build | None = OLD,
    hosts: int = 6,
    fault_domains: int = 3,
    after: int = 2,
    limits: Limits | None = None,
    service: ServiceName = WEB,
    absent: Iterable[str] = (),
    now: float = EPOCH_S,
) -> CellPlan:
    """What the planner makes of a cell that runs *baseline*; *after* is the last plan_seq."""
    inventory = hosts_of(hosts, fault_domains)
    facts = CellFacts(
        cell=CELL,
        hosts=inventory,
        alive=frozenset(host.name for host in inventory) - {HostName(name) for name in absent},
        evidence={},
        baseline=baseline,
        plan_seq_max=after,
    )
    cell_plan = plan_cell(
        facts,
        service=service,
        build=build,
        rollout_id=RolloutId(f"r{after + 2}"),
        limits=limits or Limits(),
        now=now,
    )
    assert cell_plan is not None, "somebody is alive"
    return cell_plan


def rollout_of(cell_plan: CellPlan, *, failure_fraction_max: float = 0.99) -> Rollout:
    """The approval that *cell_plan* needs; its number is the plan's."""
    return bounds_of(
        cell_plan,
        rollout_seq=cell_plan.plan.plan_seq,
        target=Target(environment="lab", machine_function="web"),
        failure_fraction_max=failure_fraction_max,
    )


def orders_of(cell_plan: CellPlan) -> tuple[Sealed, ...]:
    """Everything that tells a host about the plan, but for the GO."""
    return (rollout_of(cell_plan), cell_plan.roster, cell_plan.plan, cell_plan.revert)


def activate(cell_plan: CellPlan, *, up_to: int = 99, quiet_at: float = 0.0) -> Grant:
    """The grant that lets *cell_plan* start."""
    plan = cell_plan.plan
    return Grant(
        service=plan.service,
        plan_seq=plan.plan_seq,
        phase="activate",
        up_to=up_to,
        predecessor_quiet_at=quiet_at,
    )


def name_to_go_back(cell_plan: CellPlan, *hosts: str) -> Grant:
    """The grant that lets *hosts* go back."""
    plan = cell_plan.plan
    names = tuple(HostName(host) for host in hosts)
    return Grant(service=plan.service, plan_seq=plan.plan_seq + 1, phase="revert", hosts=names)


def a_go(*grants: Grant, lease_seq: int = 1, issued_at: float = EPOCH_S) -> Go:
    """A GO of the usual length."""
    return Go(
        cell=CELL,
        lease_seq=lease_seq,
        issued_at=issued_at,
        not_after=issued_at + LEASE_S,
        grants=grants,
    )


def abort_of(cell_plan: CellPlan) -> Abort:
    """The ABORT of *cell_plan*."""
    return an_abort(cell_plan.plan.plan_seq, service=cell_plan.plan.service)


def an_abort(watermark: int, *, service: ServiceName = WEB) -> Abort:
    """The ABORT of the plan with this number, and of its ROLLOUT."""
    return Abort(
        cell=CELL,
        service=service,
        watermark=watermark,
        rollout_seq=watermark,
        code="operator",
        reason="asked",
    )


def retry_of(cell_plan: CellPlan, attempt: int = 1) -> Retry:
    """The RETRY of *cell_plan*."""
    plan = cell_plan.plan
    return Retry(cell=CELL, service=plan.service, plan_seq=plan.plan_seq, attempt=attempt)


def a_settled(
    build: Build | None, plan_seq: int, *, issued_at: float = EPOCH_S, hosts: tuple[str, ...] = ()
) -> Settled:
    """What the cell runs since *plan_seq*: of a plan when that is even, else of its way back."""
    return Settled(
        cell=CELL,
        service=WEB,
        rollout_id=RolloutId(f"r{plan_seq - plan_seq % 2}"),
        plan_seq=plan_seq,
        build=build,
        max_unavailable=2,
        activation_max_s=60.0,
        clock_error_s=1.0,
        issued_at=issued_at,
        not_after=issued_at + 24 * 3600,
        hosts=tuple(HostName(host) for host in hosts),
    )


def a_word(
    host: str, plan_seq: int, rank: Rank, *, runs: Build | None = OLD, attempt: int = 0
) -> Attestation:
    """What *host* says of itself; a later plan, attempt or rank is a newer word."""
    return Attestation(
        cell=CELL,
        host=HostName(host),
        service=WEB,
        fault_domain=FaultDomain("fd0"),
        epoch=1,
        seq=plan_seq * 1_000 + attempt * 10 + rank,
        plan_seq=plan_seq,
        attempt=attempt,
        rank=rank,
        version=runs.version if runs else Version(""),
        digest=runs.digest if runs else Digest(""),
    )
