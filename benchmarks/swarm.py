"""How near to the physical limit a release reaches every host of a shaped network.

Prints one JSON line for each client, ours first.  Times count from the moment the rollout was
accepted (ours) or the clients were started (others) to the moment a host has every byte.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from lab.bound import bound_s
from lab.clients import CLIENTS, PublicSwarm, make_torrent
from lab.fleet import moment, running_control_plane, running_fleet
from lab.goodput import Goodput, measure_goodput
from lab.meter import Meter, Moved
from lab.network import Network
from lab.plan import plan_lab
from lab.world import enter_world
from local_fleet import make_payload, scratch_folder

from p2pdeploy.payload.layout import piece_size_for

PATIENCE_FACTOR = 10  # of the bound; transmission needs 4.4
PATIENCE_MIN_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is measured: one payload on one network."""

    network: Network
    folder: Path
    payload: Path
    mib: int
    goodput: Goodput

    @property
    def patience_s(self) -> float:
        return max(PATIENCE_MIN_S, PATIENCE_FACTOR * self.bound_s(self.mib << 20))

    def bound_s(self, size_bytes: int) -> float:
        pieces = -(-size_bytes // piece_size_for(size_bytes))
        return bound_s(self.network.plan, size_bytes, pieces, self.goodput.efficiency)

    def meter(self, pids: dict[str, int]) -> Meter:
        return Meter(self.network, self.goodput.bytes_per_payload_byte, pids)


def main() -> int:
    asked = _arguments()
    enter_world()
    with scratch_folder() as folder:
        work = _prepare(asked, folder)
        _measure_ours(work)
        for client in asked.vs:
            with _scratch(folder / client) as place:
                _measure_other(work, client, place)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=16)
    parser.add_argument("--mbit", type=float, default=20.0, help="of each host, 10^6 bit/s")
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--wan-mbit", type=float, help="of each cell")
    parser.add_argument("--racks", type=int, default=1, help="in each cell")
    parser.add_argument("--uplink-mbit", type=float, help="of each rack")
    parser.add_argument(
        "--vs", type=_clients, default=[], help=f"comma-separated, of {', '.join(CLIENTS)}"
    )
    return parser.parse_args()


def _clients(text: str) -> list[str]:
    named = text.split(",")
    for name in named:
        if name not in CLIENTS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(CLIENTS)}")
    return named


def _prepare(asked: argparse.Namespace, folder: Path) -> Work:
    plan = plan_lab(
        hosts=asked.hosts,
        mbit=asked.mbit,
        cells=asked.cells,
        wan_mbit=asked.wan_mbit,
        racks=asked.racks,
        uplink_mbit=asked.uplink_mbit,
    )
    network = Network(plan)
    network.make()
    goodput = measure_goodput(network, plan.origin, plan.hosts[0])
    payload = make_payload(folder / "tree", asked.mib << 20)
    return Work(network=network, folder=folder, payload=payload, mib=asked.mib, goodput=goodput)


def _measure_ours(work: Work) -> None:
    with running_fleet(work.folder / "fleet", work.network) as fleet:
        published = fleet.p2pctl("publish", "hello", "1.0.0", work.payload.parent)
        size_bytes = int(str(published["size_bytes"]))
        meter = work.meter({host.name: fleet.pid(host.name) for host in fleet.hosts})
        target = ("--env", "lab", "--mf", "web")
        rollout = fleet.p2pctl("rollout", "apply", "hello", "1.0.0", *target)
        shown = fleet.p2pctl("rollout", "get", rollout["id"])
        began = datetime.fromisoformat(str(shown["created_at"])).timestamp()
        staged = fleet.wait_logged("staged", work.patience_s)
        moved = meter.read(size_bytes)
        took = {name: moment(line) - began for name, line in staged.items()}
        fetching = [moment(fleet.logged(name, "fetching")[-1]) - began for name in staged]
    _print(work, "p2pdeploy", size_bytes, took, moved, first_fetch_s=round(min(fetching), 2))


def _measure_other(work: Work, client: str, folder: Path) -> None:
    with running_control_plane(folder / "tracker", work.network) as plane:
        torrent = folder / "payload.torrent"
        size_bytes = work.payload.stat().st_size
        info_hash = make_torrent(
            work.payload, piece_size_for(size_bytes), plane.announce_url, torrent
        )
        plane.register(info_hash)
        swarm = PublicSwarm(work.network, folder)
        try:
            swarm.seed(work.payload, torrent)
            began = time.time()
            swarm.begin(client, torrent)
            meter = work.meter(swarm.pids())
            done = swarm.wait_done(work.patience_s)
            moved = meter.read(size_bytes)
        finally:
            swarm.end()
    took = {name: at - began for name, at in done.items()}
    _print(work, client, size_bytes, took, moved)


def _print(
    work: Work, client: str, size_bytes: int, took: dict[str, float], moved: Moved, **more: object
) -> None:
    bound = work.bound_s(size_bytes)
    row = {
        "client": client,
        "hosts": len(took),
        "mib": work.mib,
        "goodput_mbit": round(work.goodput.mbit, 2),
        "bound_s": round(bound, 2),
        "p50_x": round(statistics.median(took.values()) / bound, 3),
        "last_x": round(max(took.values()) / bound, 3),
    }
    row |= {
        name: round(value, 3) if value is not None else None
        for name, value in asdict(moved).items()
    }
    print(json.dumps(row | more), flush=True)


@contextmanager
def _scratch(folder: Path) -> Generator[Path]:
    folder.mkdir()
    yield folder


if __name__ == "__main__":
    sys.exit(main())
