"""The numbers that an order makes its hosts remember.  Pure."""

from __future__ import annotations

from p2pdeploy.ids import ServiceName
from p2pdeploy.limits import NUMBER_FOLLOWED_MAX
from p2pdeploy.messages.orders import Abort, Go, Plan, Revert, Rollout, Settled
from p2pdeploy.messages.rates import RateLimits
from p2pdeploy.trust.envelope import Sealed
from p2ptracker.storage.order_number import OrderNumber

__all__ = ["numbers_in", "numbers_of"]


def numbers_of(message: Sealed) -> tuple[OrderNumber, ...]:
    """What to count on from after *message*, which was verified.

    Numbers that leave too few to count on from are left out.
    """
    return tuple(each for each in numbers_in(message) if each.number <= NUMBER_FOLLOWED_MAX)


def numbers_in(message: Sealed) -> tuple[OrderNumber, ...]:
    """Every number in *message* that hosts remember, however high."""
    match message:
        case Go():
            return (OrderNumber("lease", ServiceName(""), message.lease_seq),)
        case Rollout():
            return (OrderNumber("rollout", message.service, message.rollout_seq),)
        case Plan() | Revert() | Settled():
            return (OrderNumber("plan", message.service, message.plan_seq),)
        case Abort():
            return (
                OrderNumber("plan", message.service, message.watermark),
                OrderNumber("rollout", message.service, message.rollout_seq),
            )
        case RateLimits():
            return (OrderNumber("limits", ServiceName(""), message.limits_seq),)
        case _:
            return ()
