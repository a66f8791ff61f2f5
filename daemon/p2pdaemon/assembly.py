"""What the daemon of one host is made of: every part, tied to the others; none of them runs yet.

:mod:`p2pdaemon.run` opens what they stand on, and runs their tasks.
"""

from __future__ import annotations

import random
import ssl
import time
from dataclasses import dataclass

from p2pdaemon.assemble_releases import (
    Rates,
    Releases,
    assemble_rates,
    assemble_releases,
)
from p2pdaemon.cell_feed import CellFeed, make_gossip
from p2pdaemon.clock import HostClock
from p2pdaemon.config import DaemonConfig
from p2pdaemon.control import ControlPlane
from p2pdaemon.doorkeeper import Doorkeeper
from p2pdaemon.follow_orders import OrderFollower
from p2pdaemon.host_api import HostApi
from p2pdaemon.journal import Journal, epoch_of
from p2pdaemon.keep_identity import IdentityKeeper, renewal_process, validity_in
from p2pdaemon.launch import Launches
from p2pdaemon.learn_cell import CellLearner
from p2pdaemon.learn_gateways import GatewayLearner
from p2pdaemon.learn_trust import TrustLearner
from p2pdaemon.mesh import CellMesh
from p2pdaemon.refused import Refused
from p2pdaemon.release_cache import ReleaseCache
from p2pdaemon.reporter import Attester, Reporter
from p2pdaemon.service_process import ServiceProcess
from p2pdaemon.services.users import ServiceUsers
from p2pdaemon.svc_mgr import SvcMgr
from p2pdaemon.sync_cell import CellSync
from p2pdaemon.take_renewed import RenewedIdentity
from p2pdaemon.tries import Tries
from p2pdaemon.verify_release import ReleaseJudge
from p2pdeploy.activation.host import HostActivation
from p2pdeploy.gossip.shell import GossipShell
from p2pdeploy.ids import ServiceName
from p2pdeploy.swarm.session import Session
from p2pdeploy.trust.host_identity import HostIdentity
from p2pdeploy.trust.keyring import FleetVerifier

__all__ = ["Daemon", "Ground", "assemble"]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What all of it stands on, open for as long as the daemon runs.

    ``calling`` is presented to the control plane, ``serving`` to operators.
    """

    config: DaemonConfig
    identity: HostIdentity
    control: ControlPlane
    session: Session
    calling: ssl.SSLContext
    serving: ssl.SSLContext


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """The parts that have tasks, and what these are handed."""

    epoch: int
    gossip: GossipShell
    feed: CellFeed
    svc_mgr: SvcMgr
    releases: Releases
    control_side: ControlSide
    trust: Trust
    rates: Rates
    reporter: Reporter
    host_api: HostApi


@dataclass(frozen=True, kw_only=True)
class Life:
    """This life of the daemon, and what was on disk when it began."""

    epoch: int
    journal: Journal
    core: HostActivation
    clock: HostClock


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The other hosts: what they say, whom to believe and whom to let in."""

    refused: Refused
    verifier: FleetVerifier
    gossip: GossipShell
    doorkeeper: Doorkeeper
    mesh: CellMesh


@dataclass(frozen=True, kw_only=True)
class ControlSide:
    """What goes on between this host and the control plane."""

    learner: CellLearner
    gateways: GatewayLearner
    sync: CellSync


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Who this host is, and whom it believes."""

    keeper: IdentityKeeper
    renewed: RenewedIdentity
    learner: TrustLearner


def assemble(ground: Ground) -> Daemon:
    """Make every part, and count this boot on disk.

    Raises:
        ConfigError: a damaged journal, or an address that is not this host's.
    """
    config, rng = ground.config, random.Random()
    life, cell = _begin_life(ground), _meet_cell(ground)
    rates = assemble_rates(config, ground.session, cell.gossip, rng)
    releases = assemble_releases(
        config,
        ground.control,
        ground.session,
        cell.mesh,
        rates.pace,
        rng,
        release_root=ground.identity.bundle.release_root,
    )
    attester = Attester(cell.gossip, ground.identity.key, cell.verifier)
    svc_mgr = _make_svc_mgr(config, life, releases, attester, rng)
    tries = Tries(rng, releases.teller.tell_again)
    learner = CellLearner(config, ground.control, cell.gossip, life.clock, svc_mgr.send, tries)
    gateways = GatewayLearner(config, ground.control, cell.mesh, cell.doorkeeper.tell, tries)
    sync = CellSync(config, ground.control, cell.gossip, tries, rng)
    reporter = Reporter(
        config,
        life.epoch,
        life.core,
        attester,
        cell.gossip,
        life.clock,
        sync,
        releases.stager,
        releases.room,
        rates.keeper.rates,
    )
    feed = CellFeed(cell.gossip.alive_members, svc_mgr.send)
    trust = _make_trust(ground, cell, releases.judge, feed, rng)
    swarm = (cell.mesh.hear, cell.doorkeeper.hear, gateways.hear)  # the mesh before who asks it
    for hear in (feed.hear, *swarm, trust.learner.hear, sync.hear, rates.known.hear):
        cell.gossip.subscribe(hear)
    return Daemon(
        epoch=life.epoch,
        gossip=cell.gossip,
        feed=feed,
        svc_mgr=svc_mgr,
        releases=releases,
        control_side=ControlSide(learner=learner, gateways=gateways, sync=sync),
        trust=trust,
        rates=rates,
        reporter=reporter,
        host_api=HostApi(
            reporter,
            releases.store,
            ReleaseCache(releases.maker, releases.room),
            ground.serving,
            cell.refused.is_revoked,
        ),
    )


def _begin_life(ground: Ground) -> Life:
    config = ground.config
    journal = Journal(config.state_dir / "journal")
    host_record = journal.begin_boot(time.time())
    epoch = epoch_of(ground.identity.credential.enrolment, host_record.boots)
    core = HostActivation(
        config.name,
        config.cell,
        config.fault_domain,
        epoch=epoch,
        records=journal.services(),
        host_record=host_record,
    )
    return Life(epoch=epoch, journal=journal, core=core, clock=HostClock())


def _meet_cell(ground: Ground) -> Cell:
    config, identity = ground.config, ground.identity
    refused = Refused(identity.credential.fleet, config.cell)
    verifier = FleetVerifier(identity.known_orders.orders, refused.floors)
    gossip = make_gossip(config, identity.cell_keys, verifier)
    mesh = CellMesh(config.name, gossip.members)
    doorkeeper = Doorkeeper(gossip.members, mesh.linked_addresses, ground.session)
    return Cell(refused=refused, verifier=verifier, gossip=gossip, doorkeeper=doorkeeper, mesh=mesh)


def _make_svc_mgr(
    config: DaemonConfig, life: Life, releases: Releases, attester: Attester, rng: random.Random
) -> SvcMgr:
    store, stager = releases.store, releases.stager
    users = ServiceUsers(
        config.state_dir / "journal" / "users", config.name, allowed=config.service_users
    )

    def make_process(service: ServiceName) -> ServiceProcess:
        launches = Launches(service, config=config, store=store, users=users, rng=rng)
        return ServiceProcess(launches, store=store, restage=stager.restage)

    return SvcMgr(
        life.core,
        clock=life.clock,
        journal=life.journal,
        store=store,
        collector=releases.collector,
        stager=releases.maker,
        publish=attester.publish,
        disbelief=attester.disbelief,
        make_process=make_process,
        rng=rng,
    )


def _make_trust(
    ground: Ground, cell: Cell, judge: ReleaseJudge, feed: CellFeed, rng: random.Random
) -> Trust:
    config, identity, gossip = ground.config, ground.identity, cell.gossip
    folder = config.identity_dir
    keeper = IdentityKeeper(validity_in(folder), renewal_process(config), rng)
    follower = OrderFollower(identity, folder, judge, cell.verifier, gossip, keeper.renew_now)
    learner = TrustLearner(
        config.cell,
        folder,
        ground.control,
        gossip,
        cell.refused,
        cell.doorkeeper.tell,
        follower.learn,
        rng,
    )
    contexts = (ground.calling, ground.serving)
    renewed = RenewedIdentity(config, identity.key, contexts, ground.session, follower, feed)
    return Trust(keeper=keeper, renewed=renewed, learner=learner)
