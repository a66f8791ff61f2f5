"""The time that the network itself needs: the product's own limit, of the lab's plan (pure)."""

from __future__ import annotations

from lab.plan import Plan
from p2pdeploy.swarm.limit import Cut, Link, limit_s

__all__ = ["bound_s"]


def bound_s(plan: Plan, size_bytes: int, piece_count: int, efficiency: float) -> float:
    """Seconds in which *size_bytes* can be on every host, from an origin that has them alone.

    Args:
        plan: The network; the cable of each rack and cell is a cut.
        size_bytes: The payload.
        piece_count: How finely it is cut.
        efficiency: Goodput of one TCP stream as a fraction of the rate a cable is shaped to.
    """

    def goodput(mbit: float) -> float:
        return mbit * efficiency * 1e6 / 8

    return limit_s(
        [Link(size_bytes, goodput(host.mbit), goodput(host.mbit)) for host in plan.hosts],
        origin_bytes_per_s=goodput(plan.origin.mbit),
        piece_count=piece_count,
        cuts=[Cut(size_bytes, goodput(cable.mbit)) for cable in plan.cables],
    )
