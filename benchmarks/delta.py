"""What a host that has the version before receives for the next one, beside zsync and casync.

Everything that enters the host's cable counts, headers included: for us from the moment the
rollout is asked for to the moment the new version is staged, so also manifest, chunk index,
outlines, signatures and gossip.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lab.delta_tools import TOOLS
from lab.edits import Edit, few_edits, rounded_bytes, scattered_edits, split, write_tree
from lab.fleet import LabFleet, running_fleet
from lab.network import Network
from lab.plan import plan_lab
from lab.waiting import wait_for
from lab.world import enter_world
from local_fleet import HELLO, scratch_folder
from result import ResultWriter

LIMIT = 1.15
SHARE = 0.05
MBIT = 1000.0
SCATTERED = 2_000
STAGED_S = 240.0


class Work(NamedTuple):
    """One change: files of these sizes, edits of all their bytes, and the bar if there is one."""

    name: str
    sizes: list[int]
    edits: list[Edit]
    limit: float | None


def main() -> int:
    asked = _arguments()
    enter_world()
    network = Network(plan_lab(hosts=asked.hosts, mbit=MBIT))
    network.make()
    results = ResultWriter()
    size_bytes = asked.mib << 20
    few = few_edits(size_bytes, SHARE)
    works = [
        Work("delta-one-file", [size_bytes], few, LIMIT),
        Work("delta-tree", split(size_bytes), few, LIMIT),
        Work("delta-scattered", [size_bytes], scattered_edits(size_bytes, SCATTERED), None),
    ]
    for work in works:
        if work.name in asked.work:
            with scratch_folder() as folder:
                _measure(network, folder, work, results)
    return results.exit_code


def _arguments() -> argparse.Namespace:
    names = ["delta-one-file", "delta-tree", "delta-scattered"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--work", nargs="+", choices=names, default=names)
    return parser.parse_args()


def _measure(network: Network, folder: Path, work: Work, results: ResultWriter) -> None:
    changed_bytes = rounded_bytes(work.edits)
    write_tree(folder / "old", work.sizes, [])
    write_tree(folder / "new", work.sizes, work.edits)
    moved = {tool: _with_tool(network, folder, tool) for tool in TOOLS}
    with running_fleet(folder / "fleet", network) as fleet:
        ours, details = _with_us(fleet, folder)
    details |= {f"{tool}_x": round(bytes_ / changed_bytes, 3) for tool, bytes_ in moved.items()}
    details |= {
        "files": len(work.sizes),
        "hosts": len(network.plan.hosts),
        "edits": len(work.edits),
    }
    details |= {"changed_bytes": sum(len(edit.new) for edit in work.edits), "received_bytes": ours}
    figure = ours / changed_bytes
    if work.limit is None:
        print(json.dumps({"work": work.name, "figure": round(figure, 3), **details}), flush=True)
        return
    results.add(work.name, figure, work.limit, "x", **details)
    results.add(f"{work.name}-best-other", ours / min(moved.values()), 1.0, "x")


def _with_us(fleet: LabFleet, folder: Path) -> tuple[int, dict[str, object]]:
    """The most that any host received."""
    network = fleet.network
    hosts = [machine.name for machine in network.plan.hosts]
    _publish(fleet, folder, "old", "1.0.0")
    _roll_out(fleet, "1.0.0")
    published = _publish(fleet, folder, "new", "2.0.0")
    before = network.counts()
    _roll_out(fleet, "2.0.0", wait=False)
    digest = published["manifest_digest"]

    def staged(host: str) -> dict[str, object] | None:
        lines = fleet.logged(host, "staged")
        return next((line for line in lines if line["digest"] == digest), None)

    lines = [wait_for(lambda h=h: staged(h), f"2.0.0 on {h}", STAGED_S) for h in hosts]
    after = network.counts()
    received = [after[host].down_bytes - before[host].down_bytes for host in hosts]
    return max(received), {
        "sent_bytes": max(after[host].up_bytes - before[host].up_bytes for host in hosts),
        "dealt_bytes": max(int(str(line["dealt_bytes"])) for line in lines),
        "peer_bytes": max(int(str(line["peer_bytes"])) for line in lines),
        "published_bytes": published["sent_bytes"],
    }


def _publish(fleet: LabFleet, folder: Path, name: str, version: str) -> dict[str, object]:
    tree = folder / f"payload-{name}"
    shutil.copytree(HELLO, tree, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(folder / name, tree / "data")
    return fleet.p2pctl("publish", "hello", version, tree)


def _roll_out(fleet: LabFleet, version: str, *, wait: bool = True) -> None:
    rollout = fleet.p2pctl("rollout", "apply", "hello", version, "--env", "lab", "--mf", "web")
    if wait:
        fleet.p2pctl("rollout", "status", rollout["id"], "--timeout", "5m")


def _with_tool(network: Network, folder: Path, tool: str) -> int:
    """What the first host received."""
    host = network.plan.hosts[0].name
    own, served = folder / tool, folder / f"{tool}-served"
    own.mkdir()
    served.mkdir()
    before = network.counts()[host].down_bytes
    TOOLS[tool](network, host, folder, own, served)
    received = network.counts()[host].down_bytes - before
    _forget([own, served])
    return received


def _forget(folders: Sequence[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
