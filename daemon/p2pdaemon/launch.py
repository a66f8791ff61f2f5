"""How a build of a service is to be run on this host: command, environment, port, user, check.

What a build wants stands in its ``service.toml``, read from the staged tree each time, so a
daemon that was just started knows as much as the one before it.
"""

from __future__ import annotations

import random
from urllib.parse import urlsplit

import msgspec

from p2pdaemon.config import DaemonConfig
from p2pdaemon.services.check import Check, ExecCheck, HttpCheck, TcpCheck
from p2pdaemon.services.port import choose_port, kept_port
from p2pdaemon.services.records import RunSpec
from p2pdaemon.services.users import ServiceUser, ServiceUsers, give_folder
from p2pdaemon.store import ReleaseStore
from p2pdeploy.errors import PayloadError, UnavailableError
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.orders import Build
from p2pdeploy.payload.service_toml import (
    ServiceSpec,
    expand,
    parse_service_toml,
    service_environment,
)

__all__ = ["Launch", "Launches"]

PORT_UNKNOWN = 0  # stands in a launch that is only looked at, never started


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How to run one build here, every variable filled in."""

    spec: ServiceSpec
    run: RunSpec
    check: Check
    port: int


class Launches:
    """Fills in what the builds of one service want; every method blocks on small files.

    Args:
        service: Its name; its folder is ``services/NAME`` of the store.
        config: The host's address and the services' PATH.
        store: Where its builds lie.
        users: As whom it runs.
        rng: Spreads the choice of ports.
    """

    def __init__(
        self,
        service: ServiceName,
        *,
        config: DaemonConfig,
        store: ReleaseStore,
        users: ServiceUsers,
        rng: random.Random,
    ) -> None:
        self.service, self.address = service, config.address
        self._store = store
        self._path = config.service_path
        self._users = users
        self._rng = rng
        self._folder = store.service_dir(service)
        self._state = self._folder.absolute() / "state"

    def look(self, build: Build) -> Launch:
        """How *build* would run; touches nothing that runs.

        The folder of its log is made, and a user is kept for it, where it is the first of its
        service.

        Raises:
            PayloadError: its service.toml is missing or wrong.
        """
        spec = self._read_spec(build)
        return self._fill_in(build, spec, self._user_of(spec), PORT_UNKNOWN)

    def of_running(self, build: Build) -> Launch:
        """How *build*, which runs, was started.  Raises as :meth:`look`."""
        port = kept_port(self._folder / "port") or PORT_UNKNOWN
        spec = self._read_spec(build)
        return self._fill_in(build, spec, self._user_of(spec), port)

    def prepare(self, build: Build) -> Launch:
        """How to start *build*: its port is chosen, its state folder its user's.

        Nothing of the service may run.

        Raises:
            PayloadError: as :meth:`look`.
            UnavailableError: no port is free, or the folder cannot be given away.
        """
        spec = self._read_spec(build)
        user = self._user_of(spec)
        port = self._choose_port()
        self._give_state(user)
        return self._fill_in(build, spec, user, port)

    def _read_spec(self, build: Build) -> ServiceSpec:
        where = f"{self.service} {build.version}: service.toml"
        path = self._store.tree(build.digest) / "service.toml"
        try:
            spec = parse_service_toml(path.read_bytes(), where)
        except OSError as error:
            raise PayloadError(f"cannot be read: {error.strerror}", where=where) from error
        if spec.service.name != self.service:
            raise PayloadError(f"is of service {spec.service.name!r}", where=where)
        return spec

    def _user_of(self, spec: ServiceSpec) -> ServiceUser | None:
        return self._users.user_of(self.service, spec.run.user)

    def _fill_in(
        self, build: Build, spec: ServiceSpec, user: ServiceUser | None, port: int
    ) -> Launch:
        variables = self._variables(build, port)
        log_path = self._store.log_path(self.service)
        log_path.parent.mkdir(mode=0o700, exist_ok=True)
        run = RunSpec(
            argv=tuple(expand(word, variables) for word in spec.run.command),
            cwd=str(self._store.tree(build.digest).absolute()),
            env=service_environment(spec, variables, path=self._path),
            stop_signal=spec.run.stop_signal,
            stop_timeout_s=spec.run.stop_timeout_s,
            stdout_path=str(log_path),
            stderr_path=str(log_path),
            digest=build.digest,
            version=build.version,
            user=user,
            state_dir=str(self._state),
        )
        return Launch(spec=spec, run=run, check=_check_of(spec, variables, run), port=port)

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
            self.address,
            taken={port for port in taken if port is not None},
            rng=self._rng,
        )
        return choice.port

    def _variables(self, build: Build, port: int) -> dict[str, str]:
        return {
            "HOST": self.address,
            "PORT": str(port),
            "STATE_DIR": str(self._state),
            "SERVICE": self.service,
            "VERSION": build.version,
        }


def _check_of(spec: ServiceSpec, variables: dict[str, str], run: RunSpec) -> Check:
    health = spec.health
    if health.http:
        return HttpCheck(expand(health.http, variables))
    if health.tcp:
        host, _, port = expand(health.tcp, variables).rpartition(":")
        return TcpCheck(host, urlsplit(f"//{host}:{port}").port or 0)
    argv = tuple(expand(word, variables) for word in health.exec or ())
    return ExecCheck(argv, run.env, run.cwd, run.user, run.state_dir)
