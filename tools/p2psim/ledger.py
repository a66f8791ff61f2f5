"""What happened in one world, as plain facts: the judges read it, :mod:`p2psim.truth` writes it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from p2pdeploy.activation.record import Started
from p2pdeploy.ids import Digest, HostName, ServiceName
from p2pdeploy.messages.orders import Go
from p2pdeploy.planning.planner import CellPlan

__all__ = ["Ledger", "Touch", "Violation"]


class Violation(msgspec.Struct, frozen=True):
    """One broken invariant: which, when, and what was seen."""

    invariant: str
    at_s: float
    detail: str


class Touch(msgspec.Struct, frozen=True):
    """A host began to change a service; ``interrupts`` if that was running until then."""

    at_s: float
    wall_s: float
    host: HostName
    service: ServiceName
    started: Started
    watermark: int  # of the host's record at that instant
    interrupts: bool


@dataclass
class Ledger:
    """The facts of one world.  Times of orders are seconds since the epoch, others of the world."""

    approved: dict[ServiceName, set[Digest]] = field(default_factory=dict[ServiceName, set[Digest]])
    """What any ROLLOUT issued so far lets anybody run: its build, or the baseline to go back to."""
    plans: dict[tuple[ServiceName, int], CellPlan] = field(
        default_factory=dict[tuple[ServiceName, int], CellPlan]
    )
    changing: dict[tuple[HostName, ServiceName], Touch] = field(
        default_factory=dict[tuple[HostName, ServiceName], Touch]
    )
    healthy: dict[tuple[ServiceName, int], set[HostName]] = field(
        default_factory=dict[tuple[ServiceName, int], set[HostName]]
    )
    excused: dict[tuple[ServiceName, int], frozenset[HostName]] = field(
        default_factory=dict[tuple[ServiceName, int], frozenset[HostName]]
    )
    settled: set[tuple[ServiceName, int]] = field(default_factory=set[tuple[ServiceName, int]])
    aborted_at: dict[tuple[ServiceName, int], float] = field(
        default_factory=dict[tuple[ServiceName, int], float]
    )
    dead: dict[tuple[ServiceName, Digest], int] = field(
        default_factory=dict[tuple[ServiceName, Digest], int]
    )
    """Builds that were aborted and not approved anew since, and the plan_seq they died under."""
    leases: list[Go] = field(default_factory=list[Go])
    ended_at: dict[tuple[HostName, ServiceName, int], float] = field(
        default_factory=dict[tuple[HostName, ServiceName, int], float]
    )
    touches: list[Touch] = field(default_factory=list[Touch])
    violations: list[Violation] = field(default_factory=list[Violation])
