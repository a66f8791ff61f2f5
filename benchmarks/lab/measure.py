"""Bring one payload to every host, our way or another's, and say what it took."""

from __future__ import annotations

import statistics
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from local_fleet import gone_afterwards

from lab.bound import bound_s
from lab.clients import PublicClients, make_torrent
from lab.costs import Costs
from lab.faults import FAULTS
from lab.fleet import LabFleet, running_control_plane, running_fleet
from lab.goodput import Goodput, measure_goodput
from lab.meter import Meter, Moved
from lab.network import Network
from lab.rollout import Release, Rollout
from lab.rows import Row
from lab.scene import Scene
from p2pdeploy.payload.layout import piece_size_for

__all__ = ["OURS", "Work", "measure_fault", "measure_other", "measure_ours"]

OURS = "p2pdeploy"
PATIENCE_FACTOR = 10  # of the bound; transmission needs 4.4
PATIENCE_MIN_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is measured: one payload on one network.

    ``folder``: of this run; each client has one of its own in it, deleted after it.
    """

    network: Network
    folder: Path
    payload: Path
    mib: int
    goodput: Goodput

    @classmethod
    def begin(cls, network: Network, folder: Path, payload: Path, mib: int) -> Work:
        """Measure the goodput that this run is judged by."""
        plan = network.plan
        goodput = measure_goodput(network, plan.origin, plan.hosts[0])
        return cls(network=network, folder=folder, payload=payload, mib=mib, goodput=goodput)

    @property
    def patience_s(self) -> float:
        return max(PATIENCE_MIN_S, PATIENCE_FACTOR * self.bound_s(self.mib << 20))

    def bound_s(self, size_bytes: int) -> float:
        """What the network itself needs."""
        pieces = -(-size_bytes // piece_size_for(size_bytes))
        return bound_s(self.network.plan, size_bytes, pieces, self.goodput.efficiency)

    def meter(self, size_bytes: int, costs: Costs) -> Meter:
        return Meter(self.network, self.goodput.bytes_per_payload_byte, size_bytes, costs)

    def row(self, client: str, size_bytes: int, took_s: Mapping[str, float], moved: Moved) -> Row:
        """The line of *client*, whose hosts needed *took_s*."""
        bound = self.bound_s(size_bytes)
        return {
            "client": client,
            "hosts": len(took_s),
            "mib": self.mib,
            "goodput_mbit": round(self.goodput.mbit, 2),
            "bound_s": round(bound, 2),
            "p50_x": round(statistics.median(took_s.values()) / bound, 3),
            "last_x": round(max(took_s.values()) / bound, 3),
        } | {
            name: round(value, 3) if value is not None else None
            for name, value in asdict(moved).items()
        }


def measure_ours(work: Work) -> Row:
    """The real control plane and daemons."""
    with _fleet(work) as fleet:
        release = Release.publish(fleet, work.payload.parent)
        meter = work.meter(release.size_bytes, fleet.costs)
        rollout = Rollout.apply(fleet, release, meter)
        took_s = rollout.wait_staged([host.name for host in fleet.hosts], work.patience_s)
        row = work.row(OURS, release.size_bytes, took_s, meter.read())
        return row | {"first_fetch_s": round(rollout.first_fetch_s(), 2)}


def measure_fault(work: Work, name: str) -> Row:
    """The same while something goes wrong: one of :data:`lab.faults.FAULTS`."""
    fault = FAULTS[name]
    with _fleet(work) as fleet, ExitStack() as undo:
        release = Release.publish(fleet, work.payload.parent)
        scene = Scene(fleet=fleet, release=release, patience_s=work.patience_s, undo=undo)
        fault.prepare(scene)
        meter = work.meter(release.size_bytes, fleet.costs)
        rollout = Rollout.apply(fleet, release, meter)
        struck = fault.strike(scene, rollout)
        took_s = rollout.wait_staged(struck.counted, work.patience_s)
        row = work.row(OURS, release.size_bytes, took_s, meter.read())
        row |= {"first_fetch_s": round(rollout.first_fetch_s(), 2)}
    return row | {"fault": name} | struck.fields


@contextmanager
def _fleet(work: Work) -> Generator[LabFleet]:
    """A fleet of its own, which knows nothing of those before."""
    work.network.forget()
    with (
        gone_afterwards(work.folder / OURS) as folder,
        running_fleet(folder / "fleet", work.network) as fleet,
    ):
        yield fleet


def measure_other(work: Work, client: str) -> Row:
    """One of :data:`lab.clients.CLIENTS`."""
    work.network.forget()
    with (
        gone_afterwards(work.folder / client) as folder,
        running_control_plane(folder / "tracker", work.network) as plane,
    ):
        torrent, size_bytes = folder / "payload.torrent", work.payload.stat().st_size
        piece_size_bytes = piece_size_for(size_bytes)
        plane.register(make_torrent(work.payload, piece_size_bytes, plane.announce_url, torrent))
        public = PublicClients(client, work.network, folder, work.payload, torrent)
        try:
            public.seed()
            began = time.time()
            public.begin()
            meter = work.meter(size_bytes, public.costs)
            done = public.wait_done(work.patience_s)
            row = work.row(
                client, size_bytes, {name: at - began for name, at in done.items()}, meter.read()
            )
        finally:
            public.end()
    return row | {"rss_mib_max": None} if public.has_ended else row
