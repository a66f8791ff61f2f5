"""Everything one control-plane process holds, opened and closed in one place."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from p2pdeploy.errors import RefusedError, UnavailableError
from p2pdeploy.topology import Host
from p2pdeploy.trust.keyring import FleetVerifier
from p2ptracker.assembly import (
    Ground,
    make_enrolment,
    make_fleet,
    make_orchestrator,
    make_prefetches,
    make_releases,
    make_rotation,
)
from p2ptracker.authority.folder import TrustFolder, open_trust
from p2ptracker.authority.issue import refresh_control_plane
from p2ptracker.cells.daemons import Daemons
from p2ptracker.cells.gateways import GatewayBook
from p2ptracker.cells.held_offers import HeldOffers
from p2ptracker.cells.replicas import Cells
from p2ptracker.config import TrackerConfig, load_config, load_inventory
from p2ptracker.enrolment.desk import EnrolmentDesk
from p2ptracker.enrolment.inventory import Inventory
from p2ptracker.enrolment.revoking import Revoker
from p2ptracker.enrolment.rotating import RingRotator
from p2ptracker.enrolment.standing import Standing
from p2ptracker.keys.release_roles import ReleaseRoles
from p2ptracker.keys.rotator import KeyRotator
from p2ptracker.metrics import Metrics
from p2ptracker.operators.desk import OperatorDesk
from p2ptracker.origin import Origin
from p2ptracker.prefetching.desk import PrefetchDesk
from p2ptracker.rates.desk import RateDesk
from p2ptracker.registry.publish import Publisher
from p2ptracker.releases.desk import ReleaseDesk
from p2ptracker.releases.keeper import RepositoryKeeper
from p2ptracker.rollouts.orchestrator import Orchestrator
from p2ptracker.spreads.recorder import SpreadRecorder
from p2ptracker.storage.database import SqliteDatabase
from p2ptracker.storage.enrolment import Refusals, stored_refusals
from p2ptracker.storage.interfaces import BlobStore, Database
from p2ptracker.storage.releases import announce_hash_known

__all__ = ["ControlPlane", "LabTorrents", "open_control_plane"]

LAB_TORRENTS_MAX = 64  # a comparison needs one

log = structlog.get_logger(__name__)


class LabTorrents:
    """Info-hashes of v1 torrents that may be tracked, for comparisons; forgotten on restart."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._hashes: set[bytes] = set()

    def add(self, info_hash: bytes) -> None:
        """Register one; raises RefusedError outside lab mode or when there are too many."""
        if not self._enabled:
            raise RefusedError(
                "this control plane is not in lab mode",
                hint="set lab = true in tracker.toml",
                code="not-a-lab",
            )
        if len(self._hashes) >= LAB_TORRENTS_MAX and info_hash not in self._hashes:
            raise RefusedError(f"{LAB_TORRENTS_MAX} lab torrents are registered", code="lab-full")
        self._hashes.add(info_hash)

    def __contains__(self, info_hash: bytes) -> bool:
        return info_hash in self._hashes


class ControlPlane(msgspec.Struct, frozen=True, kw_only=True):
    """What the roles share."""

    config: TrackerConfig
    inventory: Inventory
    trust: TrustFolder
    verifier: FleetVerifier
    standing: Standing
    enrolment: EnrolmentDesk
    revoker: Revoker
    rotator: RingRotator
    keys: KeyRotator
    release_roles: ReleaseRoles
    operators: OperatorDesk
    database: Database
    store: BlobStore
    publisher: Publisher
    repository: RepositoryKeeper
    releases: ReleaseDesk
    cells: Cells
    gateways: GatewayBook
    held_offers: HeldOffers
    daemons: Daemons
    orchestrator: Orchestrator
    prefetches: PrefetchDesk
    rates: RateDesk
    origin: Origin
    spreads: SpreadRecorder
    lab: LabTorrents
    metrics: Metrics

    async def may_track(self, info_hash: bytes) -> bool:
        """Whether the announce endpoint serves this torrent."""
        if info_hash in self.lab:
            return True
        return await self.database.read(
            lambda connection: announce_hash_known(connection, info_hash)
        )


@asynccontextmanager
async def open_control_plane(
    folder: Path, *, clock: Callable[[], float] = time.time
) -> AsyncGenerator[ControlPlane]:
    """Open the control plane of the fleet in *folder*; the database is closed on leaving.

    Args:
        folder: The fleet's.
        clock: Seconds since the epoch, as rollouts are conducted by.

    Raises:
        ConfigError: tracker.toml, inventory.json, the trust folder or the database is not usable.
    """
    config, inventory = load_config(folder), load_inventory(folder)
    trust = open_trust(folder)
    refresh_control_plane(trust, config.address, now=datetime.now(UTC))
    database = SqliteDatabase(folder / "tracker" / "registry.db")
    await database.open()
    try:
        refusals = await database.read(stored_refusals)
        ground = Ground(
            folder=folder,
            config=config,
            trust=trust,
            database=database,
            clock=clock,
            metrics=Metrics(),
        )
        plane = _assemble(ground, inventory, refusals)
        await plane.repository.open(trust)
        await plane.keys.open()
        await plane.rotator.open()
        await plane.operators.open()
        await plane.cells.load()
        await plane.orchestrator.load()
        await plane.rates.open()
        yield plane
        await _store_last_words(plane.cells)
    finally:
        await database.close()


def _assemble(ground: Ground, hosts: Sequence[Host], refusals: Refusals) -> ControlPlane:
    fleet = make_fleet(ground, hosts, refusals)
    releases = make_releases(ground, fleet)
    spreads = SpreadRecorder(ground.database, ground.clock, ground.metrics.registry)
    prefetches = make_prefetches(ground, fleet, releases)
    orchestrator = make_orchestrator(
        ground, fleet, releases, prefetches=prefetches, spreads=spreads
    )
    rotation = make_rotation(ground, fleet, releases)
    config, trust, database, store = ground.config, ground.trust, ground.database, releases.store
    return ControlPlane(
        config=config,
        inventory=fleet.inventory,
        trust=trust,
        verifier=fleet.verifier,
        standing=fleet.standing,
        enrolment=make_enrolment(ground, fleet, orchestrator),
        revoker=rotation.revoker,
        rotator=rotation.rings,
        keys=rotation.keys,
        release_roles=ReleaseRoles(trust, releases.repository),
        operators=OperatorDesk(trust, fleet.standing, database, ground.clock),
        database=database,
        store=store,
        publisher=Publisher(
            database,
            store,
            ground.data / "uploads",
            trust.swarm_ca.pem,
            fleet.standing.is_revoked,
        ),
        repository=releases.repository,
        releases=releases.desk,
        cells=fleet.cells,
        gateways=GatewayBook(),
        held_offers=HeldOffers(ground.metrics.held_offers),
        daemons=fleet.daemons,
        orchestrator=orchestrator,
        prefetches=prefetches,
        spreads=spreads,
        rates=RateDesk(fleet.cells, database, ground.clock),
        origin=Origin(database, store, fleet.cells.is_host, ground.metrics.registry),
        lab=LabTorrents(enabled=config.lab),
        metrics=ground.metrics,
    )


async def _store_last_words(cells: Cells) -> None:
    """What came in since the last write; without it a restart hears the same from the cells."""
    try:
        await cells.store_unsaved()
    except UnavailableError as error:
        log.warning("store-failed", code=error.code, reason=str(error))
