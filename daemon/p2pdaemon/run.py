"""Run the daemon of one host.  This file is its whole task tree.

Services are not in it: each runs under a supervisor of its own, so a daemon may stop, crash or be
replaced without any of them noticing.
"""

from __future__ import annotations

import gc
import random
import signal
import ssl
import time
from collections.abc import Callable
from functools import partial

import trio

from p2pdaemon.cell_feed import CellFeed, make_gossip
from p2pdaemon.clock import HostClock
from p2pdaemon.collector import Collector
from p2pdaemon.config import DaemonConfig
from p2pdaemon.control import ControlPlane, open_control_plane
from p2pdaemon.doorkeeper import Doorkeeper
from p2pdaemon.follow_orders import OrderFollower
from p2pdaemon.host_api import HostApi
from p2pdaemon.housekeeping import tidy_up
from p2pdaemon.journal import Journal, epoch_of
from p2pdaemon.keep_identity import IdentityKeeper, renewal_process, validity_in
from p2pdaemon.learn_trust import TrustLearner
from p2pdaemon.log import get_logger
from p2pdaemon.mesh import Mesh
from p2pdaemon.own_identity import load_own_identity
from p2pdaemon.refused import Refused
from p2pdaemon.reporter import Attester, Reporter
from p2pdaemon.rotate_logs import rotate_logs
from p2pdaemon.service_process import ServiceProcess
from p2pdaemon.services.users import ServiceUsers
from p2pdaemon.stage_build import BuildStager
from p2pdaemon.state_lock import only_daemon
from p2pdaemon.store import ReleaseStore
from p2pdaemon.svc_mgr import SvcMgr
from p2pdaemon.sync_cell import CellSync
from p2pdaemon.tell_seeds import SeedTeller
from p2pdaemon.verify_release import ReleaseJudge
from p2pdeploy.activation.host import HostActivation
from p2pdeploy.swarm.identity import SwarmIdentity
from p2pdeploy.swarm.session import Session
from p2pdeploy.trust.host_identity import HostIdentity
from p2pdeploy.trust.keyring import FleetVerifier
from p2pdeploy.trust.tls import client_context, is_control_plane, server_context

__all__ = ["run_daemon"]

_log = get_logger("daemon")


async def run_daemon(
    config: DaemonConfig, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run until SIGTERM, SIGINT or cancellation; the services go on running.

    Raises:
        ConfigError: the host has not joined, a damaged journal, or an address that is taken.
        RefusedError: a daemon runs on this state folder already.
        UnavailableError: the swarm's port is taken.  In every case nothing was started.
    """
    identity = load_own_identity(config)
    context = client_context(identity.files, is_control_plane, who="the control plane")
    serving = server_context(identity.files, demands_certificate=True)
    with only_daemon(config.state_dir):
        async with (
            open_control_plane(config.api, context=context, address=config.address) as control,
            Session(config.address, config.swarm_port, _swarm_identity(identity)) as session,
        ):

            def take_renewed() -> HostIdentity:
                """Present the new certificates; connections that stand go on under the old ones."""
                fresh = load_own_identity(config)
                for each in (context, serving):
                    each.load_cert_chain(fresh.files.certificate, fresh.files.key)
                session.renew(_swarm_identity(fresh))
                return fresh

            await _run_tasks(config, identity, control, session, serving, take_renewed, task_status)


async def _run_tasks(
    config: DaemonConfig,
    identity: HostIdentity,
    control: ControlPlane,
    session: Session,
    serving: ssl.SSLContext,
    take_renewed: Callable[[], HostIdentity],
    task_status: trio.TaskStatus[None],
) -> None:
    journal = Journal(config.state_dir / "journal")
    host_record = journal.begin_boot(time.time())
    epoch = epoch_of(identity.credential.enrolment, host_record.boots)
    core = HostActivation(
        config.name,
        config.cell,
        config.fault_domain,
        epoch=epoch,
        records=journal.services(),
        host_record=host_record,
    )
    rng, clock = random.Random(), HostClock()
    store, collector = ReleaseStore(config.state_dir), Collector()
    refused = Refused(identity.credential.fleet, config.cell)
    verifier = FleetVerifier(identity.known_orders.orders, refused.floors)
    gossip = make_gossip(config, identity.cell_keys, verifier)
    attester = Attester(gossip, identity.key)
    mesh = Mesh(config.name, gossip.members)
    doorkeeper = Doorkeeper(gossip.members, session)
    judge = ReleaseJudge(control, config.state_dir, identity.bundle.release_root)
    stager = BuildStager(config, store, control, session, mesh, rng, judge)
    users = ServiceUsers(
        config.state_dir / "journal" / "users", config.name, allowed=config.service_users
    )
    svc_mgr = SvcMgr(
        core,
        clock=clock,
        journal=journal,
        store=store,
        collector=collector,
        stage=stager.stage,
        publish=attester.publish,
        make_process=partial(
            ServiceProcess,
            config=config,
            store=store,
            users=users,
            restage=stager.restage,
            rng=rng,
        ),
        rng=rng,
    )
    teller = SeedTeller(stager.torrents, control, config.cell, config.name, rng)
    sync = CellSync(config, control, gossip, clock, svc_mgr.send, rng, teller.tell_again)
    reporter = Reporter(config, epoch, core, attester, gossip, clock, sync, stager)
    host_api = HostApi(reporter, store, serving, refused.is_revoked)
    feed = CellFeed(gossip.alive_members, svc_mgr.send)
    gossip.subscribe(feed.hear)
    gossip.subscribe(doorkeeper.hear)

    def renewed() -> None:
        fresh = take_renewed()
        is_replaced = fresh.key.credential != identity.key.credential
        identity.key.credential = fresh.key.credential
        follower.take_renewed(fresh)
        if is_replaced:
            feed.say_again()

    keeper = IdentityKeeper(validity_in(config.identity_dir), renewal_process(config), renewed, rng)
    follower = OrderFollower(
        identity, config.identity_dir, judge, verifier, gossip, keeper.renew_now
    )
    learner = TrustLearner(
        config.cell,
        config.identity_dir,
        control,
        gossip,
        refused,
        doorkeeper.tell,
        follower.learn,
        rng,
    )
    gossip.subscribe(learner.hear)

    async with trio.open_nursery() as nursery:
        await nursery.start(gossip.run)
        learner.restore()
        await nursery.start(host_api.serve, config.address, config.host_port)
        nursery.start_soon(learner.learn_trust)
        nursery.start_soon(keeper.keep_identity)
        nursery.start_soon(svc_mgr.run)
        nursery.start_soon(feed.feed_core)
        nursery.start_soon(_seed, stager, teller)
        nursery.start_soon(teller.tell_dealer)
        nursery.start_soon(sync.measure_clock)
        nursery.start_soon(sync.learn_seeds)
        nursery.start_soon(sync.sync_cell)
        nursery.start_soon(rotate_logs, store)
        nursery.start_soon(tidy_up, store, collector, stager)
        nursery.start_soon(reporter.measure_loop_lag)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            _log.info("daemon runs", host=config.name, cell=config.cell, epoch=epoch)
            task_status.started()
            gc.freeze()  # modules and tables stay for good: no need to look at them again and again
            await anext(signals)
        _log.info("daemon stops; services go on", host=config.name)
        gossip.leave()
        nursery.cancel_scope.cancel()


def _swarm_identity(identity: HostIdentity) -> SwarmIdentity:
    return SwarmIdentity(
        certificate_pem=identity.swarm_pem,
        key_pem=identity.swarm_pem,
        authority_pem=identity.bundle.swarm_ca_pem,
    )


async def _seed(stager: BuildStager, teller: SeedTeller) -> None:
    await stager.seed_all()
    teller.tell_again()
