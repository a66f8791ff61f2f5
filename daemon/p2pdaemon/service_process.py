"""One service on this host: its process, its health, its port; whichever build of it runs.

What a build wants stands in its ``service.toml``, read from the staged tree each time, so a
daemon that was just started knows as much as the one before it.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.log import get_logger
from p2pdaemon.services.check import Check, ExecCheck, HttpCheck, TcpCheck, check_once
from p2pdaemon.services.health import Health, HealthCounter
from p2pdaemon.services.port import choose_port, kept_port
from p2pdaemon.services.records import ExitRecord, RunningService, RunSpec
from p2pdaemon.services.runner import ServiceRunner
from p2pdaemon.services.users import ServiceUser, ServiceUsers, give_folder
from p2pdaemon.store import ReleaseStore
from p2pdeploy.errors import IntegrityError, PayloadError, UnavailableError
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.messages.orders import Build
from p2pdeploy.payload.service_toml import (
    ServiceSpec,
    expand,
    parse_service_toml,
    service_environment,
)

__all__ = ["Launch", "Restage", "Run", "ServiceProcess"]

_log = get_logger("service")
_verifying = trio.CapacityLimiter(1)  # at worst it reads 10 GB: two would fight for the disk
_files = trio.CapacityLimiter(4)  # small reads and writes beside a service's start

PORT_UNKNOWN = 0  # stands in a launch that is only looked at, never started


Restage = Callable[[ServiceName, Build], Awaitable[object]]
"""Stages a build from scratch, or raises."""


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
        users: As whom it runs.
        restage: Called for a build whose tree differs from its manifest, when nothing runs from it.
        rng: Spreads the choice of ports.
    """

    def __init__(
        self,
        service: ServiceName,
        *,
        config: DaemonConfig,
        store: ReleaseStore,
        users: ServiceUsers,
        restage: Restage,
        rng: random.Random,
    ) -> None:
        self.service = service
        self._store = store
        self._address = config.address
        self._path = config.service_path
        self._users = users
        self._restage = restage
        self._rng = rng
        self._folder = store.service_dir(service)
        self._state = self._folder.absolute() / "state"
        self._runner = ServiceRunner(self._folder)

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
        return await trio.to_thread.run_sync(self._prepare, build, PORT_UNKNOWN, limiter=_files)

    async def start(self, build: Build) -> Run:
        """Start *build*; nothing of the service may run.  Its tree is verified once more.

        Raises:
            IntegrityError: its tree differs (``tree-differs``); nothing was started.
            PayloadError: as :meth:`look`.
            RefusedError, UnavailableError: as ``ServiceRunner.start``; nothing was started.
        """
        await self._verify(build)
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
        user = self._users.user_of(self.service, spec.run.user)
        if port is None:
            port = self._choose_port()
            self._give_state(user)
        variables = self._variables(build, port)
        environment = service_environment(spec, variables, path=self._path)
        log_path = self._store.log_path(self.service)
        log_path.parent.mkdir(mode=0o700, exist_ok=True)
        run = RunSpec(
            argv=tuple(expand(word, variables) for word in spec.run.command),
            cwd=str(tree.absolute()),
            env=environment,
            stop_signal=spec.run.stop_signal,
            stop_timeout_s=spec.run.stop_timeout_s,
            stdout_path=str(log_path),
            stderr_path=str(log_path),
            digest=build.digest,
            version=build.version,
            user=user,
            state_dir=str(self._state),
        )
        check = _check_of(spec, variables, run)
        return Launch(spec=spec, run=run, check=check, port=port)

    def _give_state(self, user: ServiceUser | None) -> None:
        try:
            give_folder(self._state, user)
        except OSError as error:
            raise UnavailableError(
                f"cannot be given to its service: {error.strerror}",
                where=str(self._state),
                code="state-folder",
            ) from error

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
        return {
            "HOST": self._address,
            "PORT": str(port),
            "STATE_DIR": str(self._state),
            "SERVICE": self.service,
            "VERSION": build.version,
        }


def _run(launch: Launch, running: RunningService) -> Run:
    health = launch.spec.health
    counter = HealthCounter(health.healthy_after, health.unhealthy_after)
    return Run(launch=launch, running=running, counter=counter)


def _check_of(spec: ServiceSpec, variables: dict[str, str], run: RunSpec) -> Check:
    health = spec.health
    if health.http:
        return HttpCheck(expand(health.http, variables))
    if health.tcp:
        host, _, port = expand(health.tcp, variables).rpartition(":")
        return TcpCheck(host, urlsplit(f"//{host}:{port}").port or 0)
    argv = tuple(expand(word, variables) for word in health.exec or ())
    return ExecCheck(argv, run.env, run.cwd, run.user, run.state_dir)
