"""A release on its way in a small lab: real programs, shaped cables, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["strike", "undisturbed"]

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

RUN = """
import json, sys
from pathlib import Path
from lab.goodput import Goodput
from lab.measure import Work, measure_fault, measure_ours
from lab.network import Network
from lab.plan import plan_lab
from lab.world import enter_world
from local_fleet import make_payload, scratch_folder
enter_world()
fault, shape = sys.argv[1], json.loads(sys.argv[2])
hosts, mbit, mib = shape.pop("hosts"), shape.pop("mbit"), shape.pop("mib")
network = Network(plan_lab(hosts=hosts, mbit=mbit, **shape))
network.make()
with scratch_folder() as folder:
    payload = make_payload(folder / "tree", mib << 20)
    goodput = Goodput(mbit=0.95 * mbit, efficiency=0.95, bytes_per_payload_byte=1.05)
    work = Work(network=network, folder=folder, payload=payload, mib=mib, goodput=goodput)
    print(json.dumps(measure_fault(work, fault) if fault else measure_ours(work)))
"""


def strike(fault: str, **shape: float) -> dict[str, Any]:
    """The line of a fault; it ends with an error when a host that counts does not get there."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, fault, json.dumps(shape)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(BENCHMARKS), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def undisturbed(**shape: float) -> dict[str, Any]:
    """The line of a release that nothing happens to."""
    return strike("", **shape)
