"""What happens to a release when the control plane is gone for a while, or for good.

Its roles (registry, origin, orchestrator, announce endpoint) are one process, so "the tracker is
killed" is "the origin is killed" too.  What has not left the origin then is nowhere else, and what
hosts can do is spread what has: :func:`kill_tracker` measures that.
"""

from __future__ import annotations

import time

from lab.plan import ORIGIN
from lab.rollout import Rollout
from lab.scene import Scene, Struck
from lab.waiting import wait_for
from p2pctl.lab.programs import CONTROL_PLANE

__all__ = ["kill_origin_when_planted", "kill_tracker", "restart_origin"]

STRIKE_AT = 0.3  # of the payload has come to the hosts, on average
RESTART_S = 5.0
STILL_S = 5.0
STILL_BYTES = 64 * 1024  # gossip goes on; a host that fetches gets more within STILL_S


def kill_tracker(scene: Scene, rollout: Rollout) -> Struck:
    """Kill it for good; once the mesh is still, and what came of that is read, start it again."""
    rollout.wait_received(STRIKE_AT, scene.patience_s)
    fields = rollout.struck_now()
    scene.fleet.kill(CONTROL_PLANE)
    left_f = rollout.meter.sent()[ORIGIN]
    _wait_still(rollout, scene.patience_s)
    held_f = min(rollout.meter.received().values())
    scene.fleet.start(CONTROL_PLANE)
    fields |= {"left_origin_f": round(left_f, 3), "held_f_min": round(held_f, 3)}
    return Struck(counted=scene.everybody, fields=fields)


def _wait_still(rollout: Rollout, timeout_s: float) -> None:
    """Wait until no host gets anything any more."""
    gain = STILL_BYTES / rollout.release.size_bytes
    seen = rollout.meter.received()
    since = time.monotonic()

    def is_still() -> bool:
        nonlocal seen, since
        now = rollout.meter.received()
        if any(now[name] - seen[name] > gain for name in now):
            seen, since = now, time.monotonic()
        return time.monotonic() - since > STILL_S

    wait_for(is_still, "the mesh is still", timeout_s)


def kill_origin_when_planted(scene: Scene, rollout: Rollout) -> Struck:
    """Kill it for good as soon as the last piece has left it."""
    rollout.wait_all_left(scene.patience_s)
    fields = rollout.struck_now()
    scene.fleet.kill(CONTROL_PLANE)
    return Struck(counted=scene.everybody, fields=fields)


def restart_origin(scene: Scene, rollout: Rollout) -> Struck:
    """Kill it, and start it again a little later."""
    rollout.wait_received(STRIKE_AT, scene.patience_s)
    fields = rollout.struck_now()
    scene.fleet.kill(CONTROL_PLANE)
    time.sleep(RESTART_S)  # noqa: TID251 the fault is that nobody is there for so long
    scene.fleet.start(CONTROL_PLANE)
    return Struck(counted=scene.everybody, fields=fields)
