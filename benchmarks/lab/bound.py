"""The time that the network itself needs (pure)."""

from __future__ import annotations

import math

from lab.plan import Plan

__all__ = ["bound_s"]


def bound_s(plan: Plan, size_bytes: int, piece_count: int, efficiency: float) -> float:
    """Seconds in which *size_bytes* can be on every host, from an origin that has them alone.

    The slowest cut decides: a host's cable, the origin's, the cable of a rack or a cell (each
    must carry the payload once), and all uplinks together, which have to carry it to every host.
    Filling the pipeline costs as many pieces as there are generations of hosts.

    Args:
        plan: The network.
        size_bytes: The payload.
        piece_count: How finely it is cut.
        efficiency: Goodput of one TCP stream as a fraction of the rate a cable is shaped to.
    """
    rates = [machine.mbit for machine in plan.machines]
    rates += [cable.mbit for cable in plan.cables]
    everything = plan.origin.mbit + sum(host.mbit for host in plan.hosts)
    slowest = min(*rates, everything / len(plan.hosts)) * efficiency * 1e6 / 8
    generations = math.floor(math.log2(len(plan.hosts)))
    return size_bytes / slowest * (1 + generations / piece_count)
