"""The invariants I1 to I6, I12, I14 and I18, as independent judges of ground truth.

They share no code with the cores: what a host may do is derived here once more from the plan,
the orders as issued and the records as written.
"""

from __future__ import annotations

from collections.abc import Iterator

from p2pdeploy.activation.record import ServiceRecord
from p2pdeploy.ids import Digest, HostName
from p2pdeploy.messages.orders import Build
from p2psim.ledger import Ledger, Touch

__all__ = ["at_persist", "at_start", "at_touch"]

Finding = tuple[str, str]


def at_touch(truth: Ledger, touch: Touch) -> Iterator[Finding]:
    """Everything that must hold at the instant a host begins to change a running service."""
    yield from _one_at_a_time_on_a_host(truth, touch)
    yield from _budget(truth, touch)
    order = (touch.service, touch.started.plan_seq)
    if order in truth.plans and order not in truth.settled:
        yield from _order(truth, touch)
        yield from _one_fault_domain(truth, touch)
        yield from _halt(truth, touch)
        yield from _abort_sticky(truth, touch)
        yield from _single_plan(truth, touch)


def at_persist(
    host: HostName, before: ServiceRecord | None, record: ServiceRecord
) -> Iterator[Finding]:
    """I6 and I5 on disk: what was accepted and aborted only rises."""
    if before is None:
        return
    if record.accepted_seq < before.accepted_seq:
        yield "I6", f"{host} went back from plan {before.accepted_seq} to {record.accepted_seq}"
    if record.watermark < before.watermark:
        yield "I5", f"{host} forgot the abort of plan {before.watermark}"


def at_start(
    truth: Ledger,
    host: HostName,
    build: Build,
    record: ServiceRecord,
    on_disk: frozenset[Digest],
) -> Iterator[Finding]:
    """Whenever a process is started: in a change, as what is put back, at boot, after a crash.

    I4: nobody starts a build whose abort it can know of; what died is judged by the orders that
    were issued, not by what the host made of them.  A change that began before is finished, and
    whether it might begin was judged then.  I12: the build was kept on disk until then.
    I18: people or CI approved it at some time, as what to run or as what to go back to.
    """
    died_at = truth.dead.get((record.service, build.digest))
    touch = truth.changing.get((host, record.service))
    in_its_change = touch is not None and touch.started.build == build
    if died_at is not None and died_at <= record.watermark and not in_its_change:
        yield "I4", f"{host} started {record.service} {build.version} of the aborted plan {died_at}"
    if build.digest not in on_disk:
        yield "I12", f"{host} has to start {record.service} {build.version}, which was collected"
    if build.digest not in truth.approved.get(record.service, set()):
        yield "I18", f"{host} started {record.service} {build.version}, which nobody approved"


def _order(truth: Ledger, touch: Touch) -> Iterator[Finding]:
    """I1: every earlier fault domain had journaled enough HEALTHY, in truth."""
    plan_seq = touch.started.plan_seq
    cell_plan = truth.plans[touch.service, plan_seq]
    domain_of = {m.host: m.fault_domain for m in cell_plan.roster.members}
    if touch.host not in domain_of:
        yield "I14", f"{touch.host} is not in the roster of plan {plan_seq} and started it"
        return
    healthy = truth.healthy.get((touch.service, plan_seq), set())
    excused = truth.excused.get((touch.service, plan_seq), frozenset())
    for index in range(domain_of[touch.host]):
        domain = cell_plan.plan.fault_domains[index]
        hosts = {host for host, k in domain_of.items() if k == index} - excused
        need = max(1, len(hosts) - domain.failures_max)
        if len(hosts & healthy) < need:
            yield (
                "I1",
                f"{touch.host} started plan {plan_seq} with {len(hosts & healthy)} of {need} "
                f"healthy in {domain.name}",
            )


def _one_fault_domain(truth: Ledger, touch: Touch) -> Iterator[Finding]:
    """I2: the hosts that plans have down, of whatever service, lie in one fault domain."""
    down: dict[int, str] = {}
    for (host, service), other in truth.changing.items():
        key = (service, other.started.plan_seq)
        if key in truth.plans and (service == touch.service or key not in truth.settled):
            members = truth.plans[key].roster.members
            down |= {m.fault_domain: f"{host} {service}" for m in members if m.host == host}
    if len(down) > 1:
        names = ", ".join(name for _, name in sorted(down.items()))
        yield "I2", f"{touch.host} started while fault domains {sorted(down)} are down: {names}"


def _budget(truth: Ledger, touch: Touch) -> Iterator[Finding]:
    """I3: at most max_unavailable hosts of a service are down because of orders.

    A service that was down already when its host began loses nothing, and is not counted.
    """
    budget = _budget_of(truth, touch)
    busy = [
        host
        for (host, service), other in sorted(truth.changing.items())
        if service == touch.service and other.interrupts
    ]
    if touch.interrupts and len(busy) > budget:
        yield "I3", f"{len(busy)} hosts are being changed, at most {budget} may: {', '.join(busy)}"


def _budget_of(truth: Ledger, touch: Touch) -> int:
    """The budget of the order that governs: a way back and a settled build have their plan's."""
    governing = (touch.started.plan_seq, touch.started.plan_seq - 1)
    return max(
        cell_plan.plan.max_unavailable
        for (service, plan_seq), cell_plan in truth.plans.items()
        if service == touch.service and plan_seq in governing
    )


def _halt(truth: Ledger, touch: Touch) -> Iterator[Finding]:
    """I4: no start after the last lease that covers the plan, nor later than abort + lease."""
    plan_seq = touch.started.plan_seq
    plan = truth.plans[touch.service, plan_seq].plan
    ends = [
        go.not_after
        for go in truth.leases
        for grant in go.grants
        if (grant.service, grant.plan_seq, grant.phase) == (touch.service, plan_seq, "activate")
    ]
    if not ends or touch.wall_s > max(ends):
        yield "I4", f"{touch.host} started plan {plan_seq} without a lease that covers it"
    aborted_at = truth.aborted_at.get((touch.service, plan_seq))
    if aborted_at is not None and touch.wall_s > aborted_at + plan.lease_s:
        late_s = touch.wall_s - aborted_at
        yield "I4", f"{touch.host} started plan {plan_seq} {late_s:.1f} s after its abort"


def _abort_sticky(truth: Ledger, touch: Touch) -> Iterator[Finding]:
    """I5: a host that has persisted an abort never starts what it covers."""
    if touch.started.plan_seq <= touch.watermark:
        yield "I5", f"{touch.host} started plan {touch.started.plan_seq} after storing its abort"


def _single_plan(truth: Ledger, touch: Touch) -> Iterator[Finding]:
    """I6: nobody starts a plan while another host is busy with an older order."""
    for (host, service), other in sorted(truth.changing.items()):
        older = other.started.plan_seq < touch.started.plan_seq
        if service == touch.service and older and other.interrupts:
            yield (
                "I6",
                f"{touch.host} started plan {touch.started.plan_seq} while {host} is busy with "
                f"{other.started.plan_seq}",
            )


def _one_at_a_time_on_a_host(truth: Ledger, touch: Touch) -> Iterator[Finding]:
    services = sorted(service for host, service in truth.changing if host == touch.host)
    if len(services) > 1:
        yield "I2", f"{touch.host} changes {' and '.join(services)} at once"
