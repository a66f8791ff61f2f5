"""Run the daemon of one host.  This file is its whole task tree.

A disk, a network or a peer that fails ends none of these tasks: what a task does not deal with
itself has it begun anew (:mod:`p2pdaemon.isolate`).

Services are not in it: each runs under a supervisor of its own, so a daemon may stop, crash or be
replaced without any of them noticing.
"""

from __future__ import annotations

import gc
import signal
from functools import partial

import trio

from p2pdaemon.assemble_releases import Rates, Releases
from p2pdaemon.assembly import ControlSide, Daemon, Ground, Trust, assemble
from p2pdaemon.config import DaemonConfig
from p2pdaemon.control import open_control_plane
from p2pdaemon.housekeeping import tidy_up
from p2pdaemon.isolate import keep_going
from p2pdaemon.log import get_logger
from p2pdaemon.own_identity import load_own_identity
from p2pdaemon.rotate_logs import rotate_logs
from p2pdaemon.state_lock import only_daemon
from p2pdaemon.take_renewed import swarm_identity
from p2pdeploy.swarm.session import Session
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
    calling = client_context(identity.files, is_control_plane, who="the control plane")
    serving = server_context(identity.files, demands_certificate=True)
    with only_daemon(config.state_dir):
        async with (
            open_control_plane(config.api, context=calling, address=config.address) as control,
            Session(config.address, config.swarm_port, swarm_identity(identity)) as session,
        ):
            ground = Ground(
                config=config,
                identity=identity,
                control=control,
                session=session,
                calling=calling,
                serving=serving,
            )
            await _run_tasks(assemble(ground), config, task_status)


async def _run_tasks(
    daemon: Daemon, config: DaemonConfig, task_status: trio.TaskStatus[None]
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(daemon.gossip.run)
        daemon.trust.learner.restore()
        daemon.rates.known.restore()
        await nursery.start(daemon.host_api.serve, config.address, config.host_port)
        _start_trust(daemon.trust, nursery)
        nursery.start_soon(daemon.svc_mgr.run)
        nursery.start_soon(daemon.feed.feed_core)
        _start_releases(daemon.releases, nursery)
        _start_control_side(daemon.control_side, nursery)
        _start_rates(daemon.rates, nursery)
        nursery.start_soon(daemon.reporter.measure_loop_lag)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            _log.info("daemon runs", host=config.name, cell=config.cell, epoch=daemon.epoch)
            task_status.started()
            gc.freeze()  # modules and tables stay for good: no need to look at them again and again
            await anext(signals)
        _log.info("daemon stops; services go on", host=config.name)
        daemon.gossip.leave()
        nursery.cancel_scope.cancel()


def _start_trust(trust: Trust, nursery: trio.Nursery) -> None:
    keep_identity = partial(trust.keeper.keep_identity, trust.renewed.take)
    nursery.start_soon(keep_going, "learn trust", trust.learner.learn_trust)
    nursery.start_soon(keep_going, "keep identity", keep_identity)


def _start_rates(rates: Rates, nursery: trio.Nursery) -> None:
    nursery.start_soon(keep_going, "keep rates", rates.keeper.keep_rates)
    nursery.start_soon(keep_going, "keep rate limits", rates.known.keep_on_disk)


def _start_releases(releases: Releases, nursery: trio.Nursery) -> None:
    tidy = partial(tidy_up, releases.store, releases.collector, releases.stager)
    nursery.start_soon(keep_going, "seed", partial(_seed, releases))
    nursery.start_soon(keep_going, "keep trunks", releases.stager.keep_trunks)
    nursery.start_soon(keep_going, "keep indexes", releases.stager.keep_indexes)
    nursery.start_soon(keep_going, "write behind", releases.stager.write_behind)
    nursery.start_soon(keep_going, "tell dealer", releases.teller.tell_dealer)
    nursery.start_soon(keep_going, "rotate logs", partial(rotate_logs, releases.store))
    nursery.start_soon(keep_going, "tidy up", tidy)


def _start_control_side(side: ControlSide, nursery: trio.Nursery) -> None:
    nursery.start_soon(keep_going, "measure clock", side.learner.measure_clock)
    nursery.start_soon(keep_going, "learn seeds", side.learner.learn_seeds)
    nursery.start_soon(keep_going, "learn gateways", side.gateways.learn_gateways)
    nursery.start_soon(keep_going, "hear orders", side.sync.hear_orders)
    nursery.start_soon(keep_going, "tell news", side.sync.tell_news)


async def _seed(releases: Releases) -> None:
    await releases.stager.seed_all()
    releases.teller.tell_again()
