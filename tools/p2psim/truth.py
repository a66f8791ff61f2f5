"""Ground truth: what really happened, independent of what any simulated part believes.

Hosts and the control plane report facts here at the instant they become true; the checkers read
them.  Nothing in the simulated world reads them back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pdeploy.activation.record import ServiceRecord, Started
from p2pdeploy.ids import Digest, HostName, ServiceName
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Abort, Build, Excuse, Go, Order, Rollout, Settled
from p2pdeploy.planning.planner import CellPlan
from p2psim import checkers
from p2psim.ledger import Ledger, Touch, Violation
from p2psim.world import World

__all__ = ["SITUATIONS", "Truth"]

# Every fault and every rule must bite somewhere in a long run; what stays at 0 tests nothing.
SITUATIONS = (
    "a change ended",
    "a change took over half its time",
    "a host failed a plan",
    "a late host was named to converge",
    "a lost host was excused",
    "a partition spanned an abort",
    "a plan was opened while a late host caught up",
    "a plan was tried again",
    "builds were prefetched",
    "a rollout was paused",
    "a rollout went back",
    "a service regressed",
    "a start was taken back at the last look",
    "builds were collected",
    "abort hit a host that was changing",
    "an interrupted change was undone",
    "an operator aborted",
    "daemon died at a write",
    "daemon died while changing",
    "daemon died with STARTED on disk",
    "partition: control",
    "partition: fault-domain",
    "partition: one-way",
    "partition: split",
    "the last rollout completed",
    "two services were rolled out side by side",
)


@dataclass(kw_only=True)
class Truth(Ledger):
    """The ledger of one world, and how facts come into it."""

    world: World
    sometimes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SITUATIONS, 0))

    def happened(self, name: str, condition: bool = True) -> None:
        """Count one of ``SITUATIONS``, so that a fault that never bites is noticed."""
        self.sometimes[name] += condition

    def planned(self, cell_plan: CellPlan) -> None:
        plan = cell_plan.plan
        self.plans[plan.service, plan.plan_seq] = cell_plan
        self.dead.pop((plan.service, plan.build.digest), None)

    def issued(self, order: Order) -> None:
        match order:
            case Rollout():
                builds = (order.build, order.baseline)
                digests = {build.digest for build in builds if build is not None}
                self.approved.setdefault(order.service, set()).update(digests)
            case Abort():
                key = (order.service, order.watermark)
                self.aborted_at.setdefault(key, self.world.wall_s)
                self.dead[order.service, self.plans[key].plan.build.digest] = order.watermark
                busy = any(t.started.plan_seq == order.watermark for t in self.changing.values())
                self.happened("abort hit a host that was changing", busy)
            case Go():
                self.leases.append(order)
                named = any(grant.phase == "converge" for grant in order.grants)
                self.happened("a late host was named to converge", named)
            case Settled():
                self.settled.add((order.service, order.plan_seq))
            case Excuse():
                self.excused[order.service, order.plan_seq] = frozenset(order.hosts)
                self.happened("a lost host was excused")
            case _:
                pass

    def is_changing(self, host: HostName) -> bool:
        return any(name == host for name, _ in self.changing)

    def touched(
        self, host: HostName, started: Started, record: ServiceRecord, *, interrupts: bool
    ) -> None:
        """The shell is about to stop what runs: the instant every safety invariant is about."""
        service = record.service
        touch = Touch(
            at_s=self.world.now_s,
            wall_s=self.world.wall_s,
            host=host,
            service=service,
            started=started,
            watermark=record.watermark,
            interrupts=interrupts,
        )
        self.changing[host, service] = touch
        self.touches.append(touch)
        for invariant, detail in checkers.at_touch(self, touch):
            self.violate(invariant, detail)

    def ended(self, host: HostName, service: ServiceName) -> None:
        touch = self.changing.pop((host, service), None)
        if touch is not None:
            took_s = self.world.now_s - touch.at_s
            self.ended_at[host, service, touch.started.plan_seq] = self.world.now_s
            self.happened("a change ended")
            self.happened(
                "a change took over half its time", took_s > touch.started.activation_max_s / 2
            )

    def daemon_gone(self, host: HostName) -> None:
        """The host is down as a whole: nothing on it is being changed any more."""
        for key in [key for key in self.changing if key[0] == host]:
            del self.changing[key]

    def persisted(
        self, host: HostName, before: ServiceRecord | None, record: ServiceRecord
    ) -> None:
        for invariant, detail in checkers.at_persist(host, before, record):
            self.violate(invariant, detail)
        if record.outcome is Rank.HEALTHY:
            self.healthy.setdefault((record.service, record.outcome_seq), set()).add(host)
        self.happened("a host failed a plan", record.outcome is Rank.FAILED)
        self.happened("a service regressed", record.outcome is Rank.REGRESSED)
        begun = before.started if before else None
        if begun and record.started is None and record.outcome_seq != begun.plan_seq:
            touched = any(t.host == host and t.started == begun for t in self.touches[-1_000:])
            self.happened("an interrupted change was undone", touched)
            self.happened("a start was taken back at the last look", not touched)

    def started(
        self,
        host: HostName,
        build: Build,
        record: ServiceRecord,
        on_disk: frozenset[Digest],
    ) -> None:
        """A process of *build* is started, for whatever reason."""
        for invariant, detail in checkers.at_start(self, host, build, record, on_disk):
            self.violate(invariant, detail)

    def violate(self, invariant: str, detail: str) -> None:
        self.world.note(f"VIOLATION {invariant}: {detail}")
        self.violations.append(Violation(invariant, round(self.world.now_s, 3), detail))
