"""Whether an order stays inside what its ROLLOUT approves; one function per order.  Pure.

People or CI sign the ROLLOUT; the keys of PLAN, REVERT, SETTLED, EXCUSE and RETRY are online and
may be stolen.  So these orders count only inside the ROLLOUT that they cite, and only while it is
the newest that this host ever verified.  Comparisons are written so that NaN is outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from p2pdeploy.activation.lease import Hold
from p2pdeploy.activation.record import ServiceRecord
from p2pdeploy.ids import HostName
from p2pdeploy.limits import ATTEMPTS_MAX
from p2pdeploy.messages.orders import Plan, Revert, Rollout, Roster, Settled

__all__ = [
    "excuse_bounds",
    "has_ended",
    "plan_bounds",
    "retry_bounds",
    "revert_bounds",
    "settled_bounds",
    "some",
]


def plan_bounds(
    plan: Plan, roster: Roster, newest: Rollout | None, record: ServiceRecord
) -> Hold | None:
    """None when *plan* is inside *newest*, the newest ROLLOUT that arrived, else what it exceeds.

    The ROLLOUT must not have been aborted, under whatever plan.
    """
    rollout = _cited(plan, newest, record)
    if isinstance(rollout, Hold):
        return rollout
    if _is_aborted(rollout, record):
        return Hold("rollout-aborted", f"rollout {rollout.rollout_id} was aborted")
    if (plan.build, plan.baseline) != (rollout.build, rollout.baseline):
        return _outside("the plan's build or baseline is not the one that was approved")
    if not plan.expires_at <= rollout.expires_at:
        return _outside("the plan would outlive its rollout")
    if not (plan.bake_s >= rollout.bake_s and plan.settle_s >= rollout.settle_s):
        return _outside("the plan bakes or settles for less time than was approved")
    return (
        _limits_hold(plan, rollout)
        or _strangers_hold(rollout, roster)
        or _failures_hold(plan, rollout)
        or _roster_hold(plan, roster)
    )


def revert_bounds(
    revert: Revert,
    roster: Roster,
    newest: Rollout | None,
    record: ServiceRecord,
    me: HostName,
) -> Hold | None:
    """None when *revert*, as it is for host *me*, is the approved way back.

    It is approved for as long as its ROLLOUT is the newest, also past its expiry and its abort.
    """
    rollout = _cited(revert, newest, record)
    if isinstance(rollout, Hold):
        return rollout
    if not _leads_back(revert, rollout, me):
        return _outside("the way back does not lead to the approved baseline")
    return _limits_hold(revert, rollout) or _strangers_hold(rollout, roster)


def settled_bounds(
    settled: Settled, newest: Rollout | None, record: ServiceRecord, me: HostName
) -> Hold | None:
    """None when *settled*, as it is for host *me*, is one of the two approved ends.

    These are the ROLLOUT's build, unless it was aborted, on its targets, and its baseline on them
    and on the hosts for which that had settled before.  Neither expires.
    """
    rollout = _cited(settled, newest, record)
    if isinstance(rollout, Hold):
        return rollout
    back = _leads_back(settled, rollout, me)
    if not back and not _arrives(settled, rollout, record):
        return _outside("what settled is neither the approved build nor its baseline")
    if _strangers(rollout, [me]) and not (back and me in rollout.settled_hosts):
        return _outside("this host is not among the approved targets")
    return _limits_hold(settled, rollout)


def excuse_bounds(plan: Plan, roster: Roster, excused: frozenset[HostName]) -> Hold | None:
    """None while no fault domain has more excused hosts than it may have failed ones.

    *plan* must be inside its bounds.
    """
    counts = [0] * len(plan.fault_domains)
    for member in roster.members:
        counts[member.fault_domain] += member.host in excused
    for domain, count in zip(plan.fault_domains, counts, strict=True):
        if count > domain.failures_max:
            return _outside(f"too many hosts are excused in {domain.name}")
    return None


def retry_bounds(attempt: int) -> Hold | None:
    """None while a plan has not been tried too often."""
    return _outside("the plan was tried too often") if attempt > ATTEMPTS_MAX else None


def has_ended(
    order: Revert | Settled, newest: Rollout | None, record: ServiceRecord, me: HostName
) -> bool:
    """Whether the build of *order*, as it is for host *me*, is an approved end of its rollout."""
    rollout = _cited(order, newest, record)
    if isinstance(rollout, Hold):
        return False
    if _leads_back(order, rollout, me):
        return True
    return isinstance(order, Settled) and _arrives(order, rollout, record)


def some(hosts: Iterable[HostName]) -> str:
    """At most three names: a reason is one short line."""
    names = sorted(hosts)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# -- what they have in common ----------------------------------------------------------------


def _outside(message: str) -> Hold:
    return Hold("outside-rollout", message)


def _cited(
    order: Plan | Revert | Settled, newest: Rollout | None, record: ServiceRecord
) -> Rollout | Hold:
    """The ROLLOUT that *order* cites, if it is the newest there is."""
    if newest is None or newest.rollout_id != order.rollout_id:
        return Hold("rollout-unknown", f"rollout {order.rollout_id} is not the newest that arrived")
    if newest.rollout_seq < record.rollout_seq:
        return Hold("superseded-rollout", f"a newer rollout than {newest.rollout_id} was seen here")
    if (order.cell, order.service) != (newest.cell, newest.service):
        return _outside("the order is for another cell or service than its rollout")
    return newest


def _is_aborted(rollout: Rollout, record: ServiceRecord) -> bool:
    return rollout.rollout_seq <= record.rollout_watermark


def _leads_back(order: Revert | Settled, rollout: Rollout, me: HostName) -> bool:
    return order.build == rollout.baseline_for(me)


def _arrives(settled: Settled, rollout: Rollout, record: ServiceRecord) -> bool:
    return settled.build == rollout.build and not _is_aborted(rollout, record)


def _limits_hold(order: Plan | Revert | Settled, rollout: Rollout) -> Hold | None:
    if order.max_unavailable > rollout.max_unavailable:
        return _outside("max_unavailable is above the approved one")
    if not order.activation_max_s <= rollout.activation_max_s:
        return _outside("a change would be given more time than was approved")
    lease_s = rollout.lease_s if isinstance(order, Settled) else order.lease_s
    if (lease_s, order.clock_error_s) != (rollout.lease_s, rollout.clock_error_s):
        return _outside("the lease or the clock error is not the approved one")
    return None


def _strangers_hold(rollout: Rollout, roster: Roster) -> Hold | None:
    strangers = _strangers(rollout, [member.host for member in roster.members])
    return _outside(f"{some(strangers)} are not among the approved targets") if strangers else None


def _strangers(rollout: Rollout, hosts: list[HostName]) -> list[HostName]:
    """Those of *hosts* that the target does not mean: by name, or else by what the cell is for."""
    target = rollout.target
    if target.hosts:
        return sorted(set(hosts) - set(target.hosts))
    here = rollout.cell.startswith(f"{target.environment}.{target.machine_function}.")
    return [] if here else hosts


def _failures_hold(plan: Plan, rollout: Rollout) -> Hold | None:
    if plan.brakes_max != 1 + max((d.failures_max for d in plan.fault_domains), default=0):
        return _outside("the plan does not stop at one failure more than a domain tolerates")
    for domain in plan.fault_domains:
        if not domain.failures_max <= rollout.failure_fraction_max * domain.size:
            return _outside(f"too many failures allowed in {domain.name}")
        if sum(domain.batches) != domain.size:
            return _outside(f"the plan contradicts itself in {domain.name}")
        widest = max(domain.batches, default=0) + domain.failures_max
        if widest > plan.max_unavailable:
            return _outside(f"a batch of {domain.name} is above max_unavailable")
    return None


def _roster_hold(plan: Plan, roster: Roster) -> Hold | None:
    """None when *roster* has exactly the fault domains and batches that *plan* says."""
    counts = Counter((member.fault_domain, member.batch) for member in roster.members)
    said = {
        (index, number): size
        for index, domain in enumerate(plan.fault_domains)
        for number, size in enumerate(domain.batches)
    }
    return None if counts == said else _outside("the plan's batches are not those of its roster")
