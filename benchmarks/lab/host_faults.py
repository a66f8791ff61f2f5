"""What happens to a release when a host is slow, dies, lies, or has no room."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from lab.rollout import Rollout
from lab.rows import Row
from lab.scene import Scene, Struck

__all__ = [
    "count_garbage",
    "kill_host",
    "leave_out_victim",
    "make_disk_small",
    "make_room",
    "replace_by_garbage",
    "slow_down",
]

SLOWER = 10.0
KILL_AT = 0.5  # of the payload has come to it
FULL_AT = 0.5  # of the payload


def slow_down(scene: Scene) -> None:
    """Give the last host's cable a tenth of its rate."""
    network, victim = scene.fleet.network, scene.plan.hosts[-1]
    network.set_rate(victim, victim.mbit / SLOWER)
    scene.undo.callback(network.set_rate, victim, victim.mbit)


def leave_out_victim(scene: Scene, rollout: Rollout) -> Struck:
    """Only the others count."""
    del rollout
    return Struck(counted=scene.others)


def kill_host(scene: Scene, rollout: Rollout) -> Struck:
    """Kill -9 the last host in its middle, and start it again at once."""
    rollout.wait_received(KILL_AT, scene.patience_s, scene.victim)
    fields = rollout.struck_now()
    scene.fleet.kill(scene.victim)
    scene.fleet.start(scene.victim)
    rollout.wait_staged(scene.everybody, scene.patience_s)
    received = rollout.meter.received()
    usual = sorted(received[name] for name in scene.others)[len(scene.others) // 2]
    again_mib = (received[scene.victim] - usual) * rollout.release.size_bytes / (1 << 20)
    return Struck(
        counted=scene.everybody, fields=fields | {"fetched_again_mib": round(again_mib, 2)}
    )


def replace_by_garbage(scene: Scene) -> None:
    """The last host's daemon makes room for a program that sends zeros under its certificate."""
    fleet, victim = scene.fleet, scene.victim
    folder = fleet.folder / "garbage"
    folder.mkdir()
    manifest = folder / "manifest"
    manifest.write_bytes(scene.release.manifest(fleet.folder))
    words = [
        *(sys.executable, Path(__file__).with_name("garbage_peer.py")),
        *(scene.victim_config, manifest, scene.release.digest, folder),
        *(host.address for host in scene.plan.hosts if host.name != victim),
    ]
    fleet.kill(victim)
    liar = subprocess.Popen(fleet.network.inside(victim, words), stdout=subprocess.PIPE, text=True)
    scene.undo.callback(liar.wait)
    scene.undo.callback(liar.kill)
    assert liar.stdout is not None
    if liar.stdout.readline() != "ready\n":
        raise SystemExit("the peer that sends garbage did not start")


def count_garbage(scene: Scene, rollout: Rollout) -> Struck:
    """Only the others count, who must have what was published."""
    rollout.wait_staged(scene.others, scene.patience_s)
    sent_mib = rollout.meter.sent()[scene.victim] * rollout.release.size_bytes / (1 << 20)
    return Struck(counted=scene.others, fields={"garbage_sent_mib": round(sent_mib, 2)})


def make_disk_small(scene: Scene) -> None:
    """The last host's releases go to a file system with room for half of this one."""
    fleet, victim = scene.fleet, scene.victim
    store = _store(scene)
    fleet.kill(victim)
    room = int(FULL_AT * scene.release.size_bytes)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", store], check=True)
    scene.undo.callback(subprocess.run, ["umount", "--lazy", store], check=True)
    fleet.start(victim)
    fleet.wait_all_alive()


def make_room(scene: Scene, rollout: Rollout) -> Struck:
    """Let the others finish, and then give the last host the room it needs."""
    others_s = max(rollout.wait_staged(scene.others, scene.patience_s).values())
    if scene.fleet.logged(scene.victim, "staged"):
        raise SystemExit(f"{scene.victim} has staged on a disk without room")
    room_at = time.time() - rollout.began
    size = f"remount,size={4 * scene.release.size_bytes}"
    subprocess.run(["mount", "-o", size, _store(scene)], check=True)
    done_s = rollout.wait_staged([scene.victim], scene.patience_s)[scene.victim]
    fields: Row = {
        "room_at_s": round(room_at, 2),
        "victim_after_room_s": round(done_s - room_at, 2),
    }
    return Struck(counted=scene.others, fields=fields | {"others_last_s": round(others_s, 2)})


def _store(scene: Scene) -> Path:
    return scene.victim_config.parent / "state" / "store"
