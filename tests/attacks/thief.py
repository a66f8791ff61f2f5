"""What a thief of an online key has: an approved rollout, and every order as its key seals it.

Envelopes are real, and so is the core of the host that they come to.
"""

from __future__ import annotations

from functools import cache

import msgspec

from p2pdeploy.messages.orders import Build, Order, Settled
from p2pdeploy.planning.planner import CellPlan
from p2pdeploy.testing.fleet_keys import FleetKeys
from p2pdeploy.testing.orders import a_build, a_plan, a_settled, rollout_of
from p2pdeploy.trust.envelope import Sealed

__all__ = [
    "APPROVED",
    "APPROVED_HOSTS",
    "EVIL",
    "NAN",
    "ROLLOUT",
    "SEQ",
    "first_name",
    "fleet",
    "settled_as",
    "through_the_verifier",
    "with_plan",
]

NAN = float("nan")
EVIL = a_build("evil")
APPROVED = a_plan()
SEQ = APPROVED.plan.plan_seq
APPROVED_HOSTS = tuple(member.host for member in APPROVED.roster.members)
ROLLOUT = rollout_of(APPROVED, failure_fraction_max=0.1)


@cache
def fleet() -> FleetKeys:
    return FleetKeys()


def through_the_verifier(message: Sealed | Order) -> Sealed:
    """*message* as the key of its role seals it and every host opens it."""
    return fleet().open(fleet().seal(message))  # pyright: ignore[reportArgumentType] every order given here is Sealed


def with_plan(cell_plan: CellPlan, **changes: object) -> CellPlan:
    """*cell_plan* with another PLAN, as a thief of the deployer key makes it."""
    return msgspec.structs.replace(
        cell_plan, plan=msgspec.structs.replace(cell_plan.plan, **changes)
    )


def settled_as(build: Build | None, *, plan_seq: int = SEQ) -> Settled:
    """A SETTLED under ROLLOUT, at any number."""
    return msgspec.structs.replace(a_settled(build, plan_seq), rollout_id=ROLLOUT.rollout_id)


def first_name(change: dict[str, object]) -> str:
    """The id of a parametrized test: which field was changed."""
    return next(iter(change))
