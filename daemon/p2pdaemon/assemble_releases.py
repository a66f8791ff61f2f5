"""What of the daemon moves builds: the parts that bring them here, and how fast they may.

Tied to the rest in :mod:`p2pdaemon.assembly`; none of them runs yet.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import trio

from p2pdaemon.collector import Collector
from p2pdaemon.config import DaemonConfig
from p2pdaemon.control import ControlPlane
from p2pdaemon.disk_room import DiskRoom
from p2pdaemon.keep_rates import RateKeeper
from p2pdaemon.make_room import RoomMaker
from p2pdaemon.mesh import CellMesh
from p2pdaemon.pressure_signals import PressureSignals
from p2pdaemon.rate_limits import KnownRateLimits
from p2pdaemon.release_inventory import ReleaseInventory
from p2pdaemon.stage_build import BuildStager
from p2pdaemon.store import ReleaseStore
from p2pdaemon.tell_seeds import SeedTeller
from p2pdaemon.verify_release import ReleaseJudge
from p2pdeploy.gossip.shell import GossipShell
from p2pdeploy.swarm.pace import DealPace
from p2pdeploy.swarm.session import Session

__all__ = ["Rates", "Releases", "assemble_rates", "assemble_releases"]


@dataclass(frozen=True, kw_only=True)
class Releases:
    """Builds: on this disk, on their way to it, and from it to others."""

    store: ReleaseStore
    collector: Collector
    judge: ReleaseJudge
    room: DiskRoom
    stager: BuildStager
    maker: RoomMaker
    teller: SeedTeller


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How much of the network this host uses."""

    known: KnownRateLimits
    pace: DealPace
    keeper: RateKeeper


def assemble_rates(
    config: DaemonConfig, session: Session, gossip: GossipShell, rng: random.Random
) -> Rates:
    """What keeps *session* and the deals within what people allow."""
    known = KnownRateLimits(config.cell, config.state_dir / "rate-limits", gossip.publish)
    pace = DealPace(rng.random(), trio.current_time())
    keeper = RateKeeper(
        config.name,
        known,
        session,
        pace,
        PressureSignals(config.state_dir) if config.yields else None,
        lambda: len(gossip.alive_members()),
    )
    return Rates(known=known, pace=pace, keeper=keeper)


def assemble_releases(
    config: DaemonConfig,
    control: ControlPlane,
    session: Session,
    mesh: CellMesh,
    pace: DealPace,
    rng: random.Random,
    *,
    release_root: bytes,
) -> Releases:
    """What brings builds onto this disk, judged from *release_root* on, and to other hosts."""
    store = ReleaseStore(config.state_dir)
    judge = ReleaseJudge(control, config.state_dir, release_root)
    room = DiskRoom(config.state_dir, config.disk_reserve_bytes)
    stager = BuildStager(config, store, control, session, mesh, rng, judge, room, pace)
    collector = Collector()
    teller = SeedTeller(stager.torrents, control, config.cell, config.name, mesh.addresses, rng)
    return Releases(
        store=store,
        collector=collector,
        judge=judge,
        room=room,
        stager=stager,
        maker=RoomMaker(stager, ReleaseInventory(store), collector, room),
        teller=teller,
    )
