"""The parts of one control plane, tied to each other; nothing is read from the database yet."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pdeploy.topology import Host
from p2pdeploy.trust.keyring import FleetVerifier, OrderKeys
from p2ptracker.authority.folder import TrustFolder
from p2ptracker.cells.daemons import Daemons
from p2ptracker.cells.replicas import Cells
from p2ptracker.config import INVENTORY_FILE, TrackerConfig
from p2ptracker.enrolment.company import CompanyAuthority, load_company_authority
from p2ptracker.enrolment.desk import EnrolmentDesk
from p2ptracker.enrolment.gate import IssuingGate
from p2ptracker.enrolment.growing import FleetGrowth
from p2ptracker.enrolment.inventory import Inventory
from p2ptracker.enrolment.revoking import Revoker
from p2ptracker.enrolment.rotating import KeptRings, RingRotator
from p2ptracker.enrolment.standing import Standing
from p2ptracker.keys.rotation import Waits
from p2ptracker.keys.rotator import KeyRotator
from p2ptracker.metrics import Metrics
from p2ptracker.prefetching.desk import PrefetchDesk
from p2ptracker.releases.desk import ReleaseDesk
from p2ptracker.releases.keeper import RepositoryKeeper
from p2ptracker.releases.release_keys import release_keys
from p2ptracker.rollouts.approval import RolloutSigners
from p2ptracker.rollouts.orchestrator import Orchestrator
from p2ptracker.spreads.recorder import SpreadRecorder
from p2ptracker.storage.blobs import LocalBlobStore
from p2ptracker.storage.enrolment import Refusals
from p2ptracker.storage.interfaces import BlobStore, Database

__all__ = [
    "Ground",
    "make_enrolment",
    "make_fleet",
    "make_orchestrator",
    "make_prefetches",
    "make_releases",
    "make_rotation",
]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What all of it stands on.

    ``folder`` is the fleet's; ``clock`` says seconds since the epoch.
    """

    folder: Path
    config: TrackerConfig
    trust: TrustFolder
    database: Database
    clock: Callable[[], float]
    metrics: Metrics

    @property
    def data(self) -> Path:
        """The control plane's own folder."""
        return self.folder / "tracker"


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The hosts: which there are, who is believed, and the ways to them."""

    inventory: Inventory
    standing: Standing
    verifier: FleetVerifier
    cells: Cells
    daemons: Daemons


@dataclass(frozen=True, kw_only=True)
class Releases:
    """What is published, and who signed it."""

    store: BlobStore
    repository: RepositoryKeeper
    desk: ReleaseDesk


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Keys that come and go, and hosts that are put out."""

    rings: RingRotator
    revoker: Revoker
    keys: KeyRotator


def make_fleet(ground: Ground, hosts: Sequence[Host], refusals: Refusals) -> Fleet:
    trust, inventory = ground.trust, Inventory(hosts, refusals.enrolments)
    standing = Standing(refusals, inventory)
    verifier = FleetVerifier(OrderKeys(trust.fleet, {}), standing.floors)
    return Fleet(
        inventory=inventory,
        standing=standing,
        verifier=verifier,
        cells=Cells(inventory, ground.database, trust.keys, verifier),
        daemons=Daemons(inventory, trust.paths.control_plane_files(), ground.config.address),
    )


def make_releases(ground: Ground, fleet: Fleet) -> Releases:
    store, database = LocalBlobStore(ground.data / "store"), ground.database
    repository = RepositoryKeeper(
        database,
        release_keys(ground.trust),
        ground.clock,
        ground.metrics.registry,
        fleet.verifier.use,
    )
    desk = ReleaseDesk(repository, database, store)
    return Releases(store=store, repository=repository, desk=desk)


def make_prefetches(ground: Ground, fleet: Fleet, releases: Releases) -> PrefetchDesk:
    return PrefetchDesk(
        fleet.cells,
        fleet.inventory,
        ground.database,
        releases.store,
        is_signed=releases.desk.is_signed,
        clock=ground.clock,
    )


def make_orchestrator(
    ground: Ground,
    fleet: Fleet,
    releases: Releases,
    *,
    prefetches: PrefetchDesk,
    spreads: SpreadRecorder,
) -> Orchestrator:
    return Orchestrator(
        fleet.cells,
        fleet.inventory,
        ground.database,
        releases.store,
        fleet.daemons,
        prefetches,
        signers=RolloutSigners(fleet.verifier, ground.trust.keys),
        is_signed=releases.desk.is_signed,
        spreads=spreads,
        settle_s=ground.config.settle_s,
        clock=ground.clock,
    )


def make_rotation(ground: Ground, fleet: Fleet, releases: Releases) -> Rotation:
    trust, database, cells = ground.trust, ground.database, fleet.cells
    rings = RingRotator(
        KeptRings(trust, database),
        lambda: [cell.cell for cell in cells.all()],
        ground.metrics.task_failures.labels(task="rotate_rings"),
    )
    revoker = Revoker(trust, fleet.inventory, fleet.standing, database, cells, rings, ground.clock)
    waits = Waits(step_s=ground.config.key_step_s)
    keys = KeyRotator(
        trust, releases.repository, database, cells, revoker.tell_anew, ground.clock, waits
    )
    return Rotation(rings=rings, revoker=revoker, keys=keys)


def make_enrolment(ground: Ground, fleet: Fleet, orchestrator: Orchestrator) -> EnrolmentDesk:
    def learn(host: Host) -> None:
        """A host that is new in the inventory."""
        fleet.cells.learn(host)
        fleet.daemons.learn(host)
        orchestrator.learn_cell(host.cell)

    return EnrolmentDesk(
        ground.trust,
        fleet.inventory,
        FleetGrowth(ground.folder / INVENTORY_FILE, fleet.inventory, learn),
        fleet.standing,
        ground.database,
        fleet.verifier,
        IssuingGate(random.Random()),
        _company_of(ground),
        ground.metrics.registry,
        ground.clock,
    )


def _company_of(ground: Ground) -> CompanyAuthority | None:
    config = ground.config
    if not config.company_ca:
        return None
    return load_company_authority(ground.folder / config.company_ca, config.company_domain)
