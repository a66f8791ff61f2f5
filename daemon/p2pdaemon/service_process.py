"""One service on this host: its process and its health, whichever build of it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from p2pdaemon.launch import Launch, Launches
from p2pdaemon.log import get_logger
from p2pdaemon.services.check import check_once
from p2pdaemon.services.health import Health, HealthCounter
from p2pdaemon.services.records import ExitRecord, RunningService
from p2pdaemon.services.runner import ServiceRunner
from p2pdaemon.store import ReleaseStore
from p2pdeploy.errors import IntegrityError, UnavailableError
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.messages.orders import Build

__all__ = ["Restage", "Run", "ServiceProcess"]

_log = get_logger("service")
_verifying = trio.CapacityLimiter(1)  # at worst it reads 10 GB: two would fight for the disk
_files = trio.CapacityLimiter(4)  # small reads and writes beside a service's start

Restage = Callable[[ServiceName, Build], Awaitable[object]]
"""Stages a build from scratch, or raises."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A build that runs, and what its health checks have said so far."""

    launch: Launch
    running: RunningService
    counter: HealthCounter

    @property
    def digest(self) -> Digest:
        return self.running.record.digest

    @property
    def port(self) -> int:
        return self.launch.port


class ServiceProcess:
    """Starts, adopts, watches and stops one service.

    Args:
        launches: Say how its builds are run, and from which address they are checked.
        store: Where they lie; its folder there is ``services/NAME``.
        restage: Called for a build whose tree differs from its manifest, when nothing runs from it.
    """

    def __init__(self, launches: Launches, *, store: ReleaseStore, restage: Restage) -> None:
        self.service = launches.service
        self._launches = launches
        self._store = store
        self._restage = restage
        self._runner = ServiceRunner(store.service_dir(self.service))

    def __repr__(self) -> str:
        return f"<ServiceProcess {self.service}>"

    async def make_ready(self, build: Build) -> None:
        """See that *build* lies here as its manifest has it; call it while the old one still runs.

        A tree that differs is staged anew from scratch, unless something runs from it.

        Raises:
            IntegrityError: it differs (``tree-differs``), and this very build runs.  Touch nothing.
            UnavailableError, ProtocolError, TrustError: staging it anew failed.
        """
        try:
            await self._verify(build)
            return
        except IntegrityError as error:
            _log.error("tree differs", service=self.service, version=build.version, why=str(error))
            running = await self._runner.adopt()
            if running is not None and running.record.digest == build.digest:
                raise
        await self._restage(self.service, build)
        await self._verify(build)

    async def _verify(self, build: Build) -> None:
        try:
            # Only reads: a change whose time is over need not wait for the end of it.
            await trio.to_thread.run_sync(
                self._store.verify, build.digest, limiter=_verifying, abandon_on_cancel=True
            )
        except OSError as error:
            raise UnavailableError(
                f"the tree of {build.version} cannot be verified: {error.strerror}",
                where=self.service,
                code="disk-error",
            ) from error

    async def look(self, build: Build) -> Launch:
        """Judge *build* without touching anything that runs.

        Raises:
            PayloadError: its service.toml is missing or wrong.
        """
        return await trio.to_thread.run_sync(self._launches.look, build, limiter=_files)

    async def start(self, build: Build) -> Run:
        """Start *build*; nothing of the service may run.  Its tree is verified once more.

        Raises:
            IntegrityError: its tree differs (``tree-differs``); nothing was started.
            PayloadError: as :meth:`look`.
            RefusedError, UnavailableError: as ``ServiceRunner.start``; nothing was started.
        """
        await self._verify(build)
        launch = await trio.to_thread.run_sync(self._launches.prepare, build, limiter=_files)
        running = await self._runner.start(launch.run)
        return _run(launch, running)

    async def adopt(self) -> Run | None:
        """What runs, whoever started it; None: nothing.

        Raises:
            PayloadError: something runs whose service.toml is gone; stop it.
        """
        running = await self._runner.adopt()
        if running is None:
            return None
        record = running.record
        build = Build(version=record.version, digest=record.digest)
        launch = await trio.to_thread.run_sync(self._launches.of_running, build, limiter=_files)
        return _run(launch, running)

    async def stop(self) -> None:
        """Stop whatever runs; return when nothing of it is left.

        Raises:
            UnavailableError: it does not die.
        """
        await self._runner.stop()

    async def wait_exit(self, run: Run) -> ExitRecord:
        """Wait for the end of *run*, and reap it."""
        return await self._runner.wait_exit(run.running)

    async def wait_health(self, run: Run, *, until: Health) -> str:
        """Check *run* at its interval until the verdict is *until*; return the last detail."""
        health = run.launch.spec.health
        while True:
            result = await check_once(
                run.launch.check, timeout_s=health.timeout_s, source_address=self._launches.address
            )
            if run.counter.handle(result) is until:
                return result.detail
            await trio.sleep(health.interval_s)


def _run(launch: Launch, running: RunningService) -> Run:
    health = launch.spec.health
    counter = HealthCounter(health.healthy_after, health.unhealthy_after)
    return Run(launch=launch, running=running, counter=counter)
