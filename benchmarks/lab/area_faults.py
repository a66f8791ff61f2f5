"""What happens to a release when many hosts are gone or cut off at once."""

from __future__ import annotations

import time

from lab.rollout import Rollout
from lab.scene import Scene, Struck

__all__ = ["cut_cell", "kill_domain"]

STRIKE_AT = 0.3  # of the payload has come to the hosts, on average
CUT_S = 10.0  # longer than gossip needs to take a silent host for dead


def kill_domain(scene: Scene, rollout: Rollout) -> Struck:
    """Kill -9 every daemon of one fault domain."""
    rollout.wait_received(STRIKE_AT, scene.patience_s)
    gone = [host for host in scene.plan.hosts if (host.cell, host.rack) == (0, 0)]
    for host in gone:
        scene.fleet.kill(host.name)
    fields = rollout.struck_now() | {"hosts_gone": len(gone)}
    names = [host.name for host in scene.plan.hosts if host not in gone]
    return Struck(counted=names, fields=fields)


def cut_cell(scene: Scene, rollout: Rollout) -> Struck:
    """Cut the first cell off from everything else, and heal that."""
    rollout.wait_received(STRIKE_AT, scene.patience_s)
    fields = rollout.struck_now()
    cable = next(cable for cable in scene.plan.cables if cable.kind == "cell")
    scene.fleet.network.cut(cable.lower)
    scene.undo.callback(scene.fleet.network.heal, cable.lower)
    time.sleep(CUT_S)  # noqa: TID251 the fault is that it is cut off for so long
    scene.fleet.network.heal(cable.lower)
    return Struck(counted=scene.everybody, fields=fields | {"cut_s": CUT_S})
