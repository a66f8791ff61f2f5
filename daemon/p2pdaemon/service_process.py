"""One service on this host: its process, its health, its port; whichever build of it runs.

What a build wants stands in its ``service.toml``, read from the staged tree each time, so a
daemon that was just started knows as much as the one before it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.services.check import Check, ExecCheck, HttpCheck, TcpCheck, check_once
from p2pdaemon.services.health import Health, HealthCounter
from p2pdaemon.services.port import choose_port, kept_port
from p2pdaemon.services.records import ExitRecord, RunningService, RunSpec
from p2pdaemon.services.runner import ServiceRunner
from p2pdaemon.store import ReleaseStore
from p2pdeploy.errors import PayloadError
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.messages.orders import Build
from p2pdeploy.payload.service_toml import (
    ServiceSpec,
    expand,
    parse_service_toml,
    service_environment,
)

__all__ = ["Launch", "Run", "ServiceProcess"]

_files = trio.CapacityLimiter(4)  # small reads and writes beside a service's start

PORT_UNKNOWN = 0  # stands in a launch that is only looked at, never started


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How to run one build here, every variable filled in."""

    spec: ServiceSpec
    run: RunSpec
    check: Check
    port: int


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
        service: Its name; its folder is ``services/NAME`` of the store.
        config: The host's address, from which it is checked too, and the services' PATH.
        store: Where its builds lie.
        rng: Spreads the choice of ports.
    """

    def __init__(
        self,
        service: ServiceName,
        *,
        config: DaemonConfig,
        store: ReleaseStore,
        rng: random.Random,
    ) -> None:
        self.service = service
        self._store = store
        self._address = config.address
        self._path = config.service_path
        self._rng = rng
        self._folder = store.service_dir(service)
        self._runner = ServiceRunner(self._folder)

    def __repr__(self) -> str:
        return f"<ServiceProcess {self.service}>"

    async def look(self, build: Build) -> Launch:
        """Judge *build* without touching anything that runs.

        Raises:
            PayloadError: its service.toml is missing or wrong.
        """
        return await trio.to_thread.run_sync(self._prepare, build, PORT_UNKNOWN, limiter=_files)

    async def start(self, build: Build) -> Run:
        """Start *build*; nothing of the service may run.

        Raises:
            PayloadError: as :meth:`look`.
            RefusedError, UnavailableError: as ``ServiceRunner.start``; nothing was started.
        """
        launch = await trio.to_thread.run_sync(self._prepare, build, None, limiter=_files)
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
        port = kept_port(self._folder / "port") or PORT_UNKNOWN
        launch = await trio.to_thread.run_sync(self._prepare, build, port, limiter=_files)
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
                run.launch.check, timeout_s=health.timeout_s, source_address=self._address
            )
            if run.counter.handle(result) is until:
                return result.detail
            await trio.sleep(health.interval_s)

    # -- a build's wishes, filled in ---------------------------------------------------------

    def _prepare(self, build: Build, port: int | None) -> Launch:
        """Blocking.  With *port* None one is chosen: the service must be stopped."""
        tree = self._store.tree(build.digest)
        where = f"{self.service} {build.version}: service.toml"
        try:
            spec = parse_service_toml((tree / "service.toml").read_bytes(), where)
        except OSError as error:
            raise PayloadError(f"cannot be read: {error.strerror}", where=where) from error
        if spec.service.name != self.service:
            raise PayloadError(f"is of service {spec.service.name!r}", where=where)
        if port is None:
            port = self._choose_port()
        variables = self._variables(build, port)
        environment = service_environment(spec, variables, path=self._path)
        log_path = self._store.log_path(self.service)
        log_path.parent.mkdir(mode=0o700, exist_ok=True)
        run = RunSpec(
            argv=tuple(expand(word, variables) for word in spec.run.command),
            cwd=str(tree),
            env=environment,
            stop_signal=spec.run.stop_signal,
            stop_timeout_s=spec.run.stop_timeout_s,
            stdout_path=str(log_path),
            stderr_path=str(log_path),
            digest=build.digest,
            version=build.version,
        )
        check = _check_of(spec, variables, environment, tree)
        return Launch(spec=spec, run=run, check=check, port=port)

    def _choose_port(self) -> int:
        others = (path for path in self._folder.parent.glob("*/port"))
        taken = {kept_port(path) for path in others if path.parent != self._folder}
        choice = choose_port(
            self._folder / "port",
            self._address,
            taken={port for port in taken if port is not None},
            rng=self._rng,
        )
        return choice.port

    def _variables(self, build: Build, port: int) -> dict[str, str]:
        state = self._folder / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        return {
            "HOST": self._address,
            "PORT": str(port),
            "STATE_DIR": str(state),
            "SERVICE": self.service,
            "VERSION": build.version,
        }


def _run(launch: Launch, running: RunningService) -> Run:
    health = launch.spec.health
    counter = HealthCounter(health.healthy_after, health.unhealthy_after)
    return Run(launch=launch, running=running, counter=counter)


def _check_of(
    spec: ServiceSpec, variables: dict[str, str], environment: dict[str, str], tree: Path
) -> Check:
    health = spec.health
    if health.http:
        return HttpCheck(expand(health.http, variables))
    if health.tcp:
        host, _, port = expand(health.tcp, variables).rpartition(":")
        return TcpCheck(host, urlsplit(f"//{host}:{port}").port or 0)
    argv = tuple(expand(word, variables) for word in health.exec or ())
    return ExecCheck(argv, environment, str(tree))
