"""Run the control plane.  This file is its whole task tree.

::

    serve_api                  HTTP API: people, p2pctl, daemons
    serve (UploadServer)       chunks of releases on their way in
    serve (AnnounceServer)     BitTorrent clients of hosts; of anybody in a lab
    store_what_cells_said      observations into the database, twice a second
    conduct_cells              rollouts: look at every cell, issue what is due
    record_spreads             how far releases are on their way, for people
    rotate_rings               gossip keys of a cell, after a revocation
    rotate_keys                keys that sign orders come and go
    tell_cells                 revocations: each cell has them within seconds
    tell_rate_limits           a cell that holds other limits than were set is put right
    keep_fresh                 release metadata: signed anew before it expires
    stop_on_signal             SIGTERM, SIGINT

The seven between the servers and the signal are kept going (:mod:`~p2ptracker.supervision`); the
servers answer for their connections themselves.

A kill at any moment is a stop like any other: what was acknowledged is on disk, what was not is
sent again by whoever had it.
"""

from __future__ import annotations

import random
import signal
from pathlib import Path

import msgspec
import structlog
import trio

from p2pdeploy.trust.tls import server_context
from p2ptracker.announce.callers import Door, HostDoor, LabDoor
from p2ptracker.announce.cells import CellSwarms
from p2ptracker.announce.server import AnnounceServer
from p2ptracker.announce.swarms import SwarmsConfig
from p2ptracker.api.app import serve_api
from p2ptracker.api.authorise import may_upload, may_upload_something
from p2ptracker.control_plane import ControlPlane, open_control_plane
from p2ptracker.listener import allow_descriptors
from p2ptracker.registry.upload_server import UploadServer
from p2ptracker.supervision import keep_going

__all__ = ["Ports", "run_control_plane", "run_tasks"]

log = structlog.get_logger(__name__)


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Where the listeners are bound."""

    api: int
    announce: int
    upload: int


async def run_control_plane(folder: Path) -> None:
    """Run every role on the fleet in *folder* until SIGTERM or SIGINT.

    Raises:
        ConfigError: the folder is not a usable fleet, or an address is taken.
    """
    allow_descriptors()
    async with open_control_plane(folder) as plane, trio.open_nursery() as nursery:
        await nursery.start(stop_on_signal, nursery.cancel_scope)
        ports = await nursery.start(run_tasks, plane)
        log.info("control-plane-up", address=plane.config.address, **msgspec.structs.asdict(ports))
    log.info("control-plane-down")


async def run_tasks(
    plane: ControlPlane, *, task_status: trio.TaskStatus[Ports] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the roles over an open *plane* until cancelled; ``started`` hands back the ports."""
    config = plane.config
    uploads = UploadServer(
        plane.publisher.spool_of,
        server_context(plane.trust.paths.control_plane_files(), demands_certificate=True),
        lambda peer: may_upload_something(peer) and not plane.standing.is_revoked(peer),
        lambda peer, service: may_upload(peer, service) and not plane.standing.is_revoked(peer),
        turned_away=plane.metrics.uploads_turned_away,
        refused=plane.metrics.uploads_refused,
    )
    swarms = CellSwarms(SwarmsConfig(interval_s=config.announce_interval_s), random.Random())
    announces = AnnounceServer(swarms, _door_of(plane), plane.may_track, plane.metrics.announces)
    async with trio.open_nursery() as nursery:
        for task in (
            plane.cells.store_what_cells_said,
            plane.orchestrator.conduct_cells,
            plane.orchestrator.spreads.record_spreads,
            plane.revoker.tell_cells,
            plane.rates.tell_rate_limits,
            plane.rotator.rotate_rings,
            plane.keys.rotate_keys,
            plane.repository.keep_fresh,
        ):
            nursery.start_soon(keep_going, task.__name__, task, plane.metrics.task_failures)
        upload = await nursery.start(uploads.serve, config.address, config.upload_port)
        plane.publisher.upload_address = f"{config.address}:{upload}"
        announce = await nursery.start(announces.serve, config.address, config.announce_port)
        api = await nursery.start(serve_api, plane, plane.orchestrator)
        if config.announce_on_lan:
            # Loaded by those who want it: the library costs every other control plane some MiB.
            from p2ptracker.enrolment.announce_on_lan import announce_on_lan

            nursery.start_soon(announce_on_lan, plane.trust.fleet, config.address, api)
        task_status.started(Ports(api=api, announce=announce, upload=upload))


def _door_of(plane: ControlPlane) -> Door:
    """Whom the announce endpoint serves."""
    if plane.config.lab:
        log.warning(
            "LAB MODE: THE ANNOUNCE ENDPOINT BELIEVES ANYBODY",
            address=plane.config.address,
            hint="without TLS and certificates, for comparisons only; never where a fleet works",
        )
        return LabDoor()
    context = server_context(plane.trust.paths.control_plane_files(), demands_certificate=True)
    return HostDoor(context, plane.inventory.find, plane.standing.is_revoked)


async def stop_on_signal(
    scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Cancel *scope* at the first SIGTERM or SIGINT."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            scope.cancel()
