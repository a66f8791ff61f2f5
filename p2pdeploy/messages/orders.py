"""Orders: what the control plane tells a cell.  ``docs/adr/0003``: unknown fields are refused.

An order that says more than this program understands may be restricting what it asks for, so it
is dropped whole instead of being obeyed in part.

Times are seconds since the epoch in UTC; durations are seconds.  ``plan_seq`` counts upwards
per (cell, service) for ever; the REVERT of plan *n* is *n* + 1, the next plan is *n* + 2 or more.
``rollout_seq`` counts upwards per service for ever.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName, RolloutId, ServiceName, Version
from p2pdeploy.limits import NUMBER_MAX, PREFETCHES_MAX

__all__ = [
    "Abort",
    "Build",
    "Excuse",
    "FaultDomainPlan",
    "Go",
    "Grant",
    "Order",
    "Plan",
    "Prefetch",
    "Prefetched",
    "Retry",
    "Revert",
    "Rollout",
    "Roster",
    "RosterMember",
    "Settled",
    "Target",
]

_Number = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all orders."""


class Build(Order, frozen=True):
    """One release as an order names it: the digest decides, the version is for people."""

    version: Version
    digest: Digest


class Target(Order, frozen=True):
    """Which hosts a rollout means: an environment and machine function, or named hosts."""

    environment: str = ""
    machine_function: str = ""
    hosts: tuple[HostName, ...] = ()


class Rollout(Order, frozen=True, tag="rollout"):
    """The bounds that people or CI approve for one cell; all that follows must stay inside them.

    ``rollout_seq`` counts upwards per service for ever, over all cells; a rollout of several
    cells has the same in each.  The way back leads to ``baseline``, but for the hosts in
    ``bare``: they had nothing, and go back to nothing.  ``settled_hosts`` are those beside the
    target for which the baseline had settled, and which it goes on to concern.
    """

    cell: CellId
    service: ServiceName
    rollout_id: RolloutId
    rollout_seq: _Number
    build: Build
    baseline: Build | None
    target: Target
    failure_fraction_max: float
    max_unavailable: int
    bake_s: float  # at least
    settle_s: float  # at least
    activation_max_s: float  # at most
    lease_s: float  # exactly
    clock_error_s: float  # exactly
    issued_at: float
    expires_at: float  # of the PLAN; approval of the way back does not lapse
    bare: tuple[HostName, ...] = ()  # of the target's hosts
    settled_hosts: tuple[HostName, ...] = ()  # with the target's at most a cell: fits an envelope

    def baseline_for(self, host: HostName) -> Build | None:
        """What *host* goes back to; None: nothing of the service."""
        return None if host in self.bare else self.baseline


class FaultDomainPlan(Order, frozen=True):
    """One fault domain in activation order: ``size`` roster hosts in static ``batches``."""

    name: FaultDomain
    size: int
    failures_max: int  # f_j: failures tolerated here
    batches: tuple[int, ...]  # sizes, in order; their sum is ``size``


class Plan(Order, frozen=True, tag="plan"):
    """How one cell takes one build.  ``baseline`` is None when there is nothing to go back to.

    ``kind`` has one value so far; a host drops a plan of a kind that it does not know.
    """

    cell: CellId
    service: ServiceName
    rollout_id: RolloutId
    plan_seq: _Number
    kind: Literal["install"]
    build: Build
    baseline: Build | None
    roster_digest: Digest
    fault_domains: tuple[FaultDomainPlan, ...]
    max_unavailable: int
    brakes_max: int
    bake_s: float
    settle_s: float
    activation_max_s: float
    lease_s: float
    clock_error_s: float
    issued_at: float
    expires_at: float


class Revert(Order, frozen=True, tag="revert"):
    """The way back, made together with its PLAN; valid once that PLAN is aborted.

    ``bare`` lists the hosts that had nothing of the service before: they go back to nothing.
    """

    cell: CellId
    service: ServiceName
    rollout_id: RolloutId
    plan_seq: _Number  # the plan's + 1
    build: Build | None  # the plan's baseline; None: stop and remove
    roster_digest: Digest
    max_unavailable: int
    activation_max_s: float
    lease_s: float
    clock_error_s: float
    issued_at: float
    bare: tuple[HostName, ...] = ()  # at most the plan's targets, which fit an envelope

    def for_host(self, host: HostName) -> Revert:
        """What it asks of *host*."""
        return msgspec.structs.replace(self, build=None) if host in self.bare else self


class RosterMember(Order, frozen=True, array_like=True):
    host: HostName
    fault_domain: int  # index into the plan's fault_domains
    batch: int  # index into that fault domain's batches


class Roster(Order, frozen=True, tag="roster"):
    """The frozen set of hosts that a plan counts.  Sorted by (fault domain, batch, host)."""

    cell: CellId
    service: ServiceName
    plan_seq: _Number
    members: tuple[RosterMember, ...]


class Grant(Order, frozen=True):
    """What a GO allows one plan.

    ``up_to`` is a fault-domain index, in phase activate, and ``without`` names roster hosts that
    may not start though it reaches them; ``hosts`` names those that may, in the other phases.  0
    as ``predecessor_quiet_at`` means no predecessor.
    """

    service: ServiceName
    plan_seq: _Number
    phase: Literal["activate", "revert", "converge"]
    up_to: int = -1
    hosts: tuple[HostName, ...] = ()
    without: tuple[HostName, ...] = ()  # at most the roster, which fits an envelope
    predecessor_quiet_at: float = 0.0


class Go(Order, frozen=True, tag="go"):
    """The lease: without one that is valid, nobody in the cell starts anything.

    One per cell and renewal; it carries every plan's grant, so a plan it leaves out is paused.
    """

    cell: CellId
    lease_seq: _Number
    issued_at: float
    not_after: float
    grants: tuple[Grant, ...]


class Abort(Order, frozen=True, tag="abort"):
    """Every plan of (cell, service) up to ``watermark`` is dead for ever.

    So is every ROLLOUT up to ``rollout_seq``, for any other plan; its way back stays approved.
    """

    cell: CellId
    service: ServiceName
    watermark: _Number
    rollout_seq: _Number
    code: str
    reason: str


class Excuse(Order, frozen=True, tag="excuse"):
    """Hosts that a plan no longer waits for.  Grows only; the newest lists them all."""

    cell: CellId
    service: ServiceName
    plan_seq: _Number
    excuse_seq: _Number
    hosts: tuple[HostName, ...]
    reason: str


class Retry(Order, frozen=True, tag="retry"):
    """Try a plan again: hosts that failed under it may start once more.

    ``attempt`` counts upwards from 1, at most to ``ATTEMPTS_MAX``; the first try is 0.
    """

    cell: CellId
    service: ServiceName
    plan_seq: _Number
    attempt: _Number


class Settled(Order, frozen=True, tag="settled"):
    """What this cell runs when nothing is under way; lets late hosts catch up.

    ``hosts`` lists whom it concerns when that is not the whole cell, and ``bare`` those of them
    on which nothing is to run.  It is the build of the rollout it names, or its baseline.
    """

    cell: CellId
    service: ServiceName
    rollout_id: RolloutId
    plan_seq: _Number
    build: Build | None
    max_unavailable: int
    activation_max_s: float
    clock_error_s: float
    issued_at: float
    not_after: float
    hosts: tuple[HostName, ...] = ()
    bare: tuple[HostName, ...] = ()

    def for_host(self, host: HostName) -> Settled:
        """What it asks of *host*."""
        return msgspec.structs.replace(self, build=None) if host in self.bare else self


class Prefetched(Order, frozen=True):
    """One build that hosts bring onto their disks ahead of a rollout, and keep until ``not_after``.

    ``hosts`` lists whom it concerns when that is not the whole cell; ``rollout_id`` names the
    rollout that waits for people and asked for it, and is empty when a person did.
    """

    build: Build
    not_after: float  # at most PREFETCH_KEEP_MAX_S after the order was issued
    hosts: tuple[HostName, ...] = ()
    rollout_id: RolloutId = RolloutId("")


class Prefetch(Order, frozen=True, tag="prefetch"):
    """All builds of a service that are prefetched in this cell; the newest one replaces the others.

    It moves bytes, and only those of releases that their publishers signed: it makes no order
    govern and opens no gate, so nobody has to approve it.
    """

    cell: CellId
    service: ServiceName
    prefetch_seq: _Number
    issued_at: float
    builds: Annotated[tuple[Prefetched, ...], msgspec.Meta(max_length=PREFETCHES_MAX)]
