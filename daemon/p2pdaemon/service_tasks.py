"""The tasks of one service on this host: what the core decided of it, carried out.

At most one of them touches the service's processes, and at most one fetches for it.  A fault ends
in an event for the core, never in another service.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from p2pdaemon.disk import disk_failure
from p2pdaemon.get_and_run_svc import GetAndRunSvc
from p2pdaemon.isolate import isolated
from p2pdaemon.keep_running import keep_absent, keep_running
from p2pdaemon.make_room import Stager
from p2pdaemon.service_process import ServiceProcess
from p2pdaemon.store import ReleaseStore
from p2pdaemon.task_slot import TaskSlot
from p2pdeploy.activation.effects import Change
from p2pdeploy.activation.events import (
    Activated,
    ActivationFailed,
    Event,
    Progressed,
    ServiceBroke,
    ServiceRan,
    StagingFailed,
)
from p2pdeploy.errors import P2PDeployError
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.attestation import DISK_FULL, ServiceState
from p2pdeploy.messages.orders import Build

__all__ = ["ServiceTasks"]

STAGE_RETRY_FIRST_S = 1.0  # a control plane or a neighbour that restarts is back in seconds
STAGE_RETRY_MAX_S = 30.0  # and one that is down for long is not asked by every host at once
FULL_RETRY_MAX_S = 3.0  # a disk is nobody else's burden, and room shall be used within seconds
CRASH_PAUSE_S = 5.0  # before a supervision that crashed begins again


class ServiceTasks:
    """See the module.  Each method returns at once; what it begins replaces what was under way.

    Args:
        service: Whose they are.
        make_process: Makes the handle on its processes; may fail as the disk does.
        service_nursery: Where the tasks run.
        store: Where builds lie.
        stager: Brings them there.
        send: Takes the events that tell how it went.
        rng: Spreads retries.
    """

    def __init__(
        self,
        service: ServiceName,
        make_process: Callable[[], ServiceProcess],
        service_nursery: trio.Nursery,
        *,
        store: ReleaseStore,
        stager: Stager,
        send: Callable[[Event], Awaitable[None]],
        rng: random.Random,
    ) -> None:
        self._service = service
        self._make_process = make_process
        self._made: ServiceProcess | None = None
        self._store = store
        self._stager = stager
        self._send = send
        self._rng = rng
        self._work = TaskSlot(service_nursery)  # touches processes: a change, or supervision
        self._fetch = TaskSlot(service_nursery)

    def __repr__(self) -> str:
        return f"<ServiceTasks {self._service}>"

    def _process(self) -> ServiceProcess:
        if self._made is None:
            self._made = self._make_process()
        return self._made

    def change(self, effect: Change) -> None:
        """Change what runs; ends in Activated or ActivationFailed."""
        self._work.replace(partial(self._change, effect))

    def supervise(self, build: Build | None, *, start: bool) -> None:
        """Keep *build* running, None: nothing, and tell when it ran or broke.

        With *start* false it is left as it is while it runs, and not started.
        """
        self._work.replace(partial(self._supervise, build, start))

    def stage(self, build: Build) -> None:
        """Fetch *build*, again and again until Staged; each StagingFailed says why not yet."""
        self._fetch.replace(partial(self._stage_until_done, build))

    def stop_staging(self) -> None:
        """Fetch no more; what was fetched stays."""
        self._fetch.cancel()

    async def _change(self, effect: Change) -> None:
        service, started = effect.service, effect.started

        async def report(state: ServiceState, port: int) -> None:
            await self._send(Progressed(service=service, state=state, port=port))

        async def change() -> None:
            step = GetAndRunSvc(self._process(), self._store, report)
            outcome: Activated | ActivationFailed = await step.change(started, resume=effect.resume)
            await self._send(outcome)

        error = await isolated(f"change {service}", change)
        if error is not None:
            code, reason = _explain(error)
            await self._send(
                ActivationFailed(
                    service=service, started=started, code=code, reason=reason, restored=False
                )
            )

    async def _supervise(self, build: Build | None, start: bool) -> None:
        service = self._service

        async def keep() -> None:
            if build is None:
                await keep_absent(self._process(), self._store)
            else:
                await keep_running(self._process(), self._store, build, tell, start=start)

        async def tell(event: ServiceRan | ServiceBroke) -> None:
            await self._send(event)

        while True:
            error = await isolated(f"keep {service} {'running' if build else 'absent'}", keep)
            if error is None:
                assert build is None, "supervision ends by an error or by cancellation"
                return
            code, reason = _explain(error)
            await tell(ServiceBroke(service=service, code=code, reason=reason))
            await trio.sleep(CRASH_PAUSE_S)

    async def _stage_until_done(self, build: Build) -> None:
        service, delay_s = self._service, STAGE_RETRY_FIRST_S

        async def stage() -> None:
            await self._send(await self._stager.stage(service, build))

        while error := await isolated(f"stage {service} {build.version}", stage):
            code, reason = _explain(error)
            await self._send(
                StagingFailed(service=service, digest=build.digest, code=code, reason=reason)
            )
            if code == DISK_FULL:
                delay_s = min(delay_s, FULL_RETRY_MAX_S)
            await trio.sleep(delay_s * self._rng.uniform(0.5, 1.0))
            await isolated(
                f"wait for room {service}", partial(self._stager.wait_room, build, error)
            )
            delay_s = min(delay_s * 2, STAGE_RETRY_MAX_S)


def _explain(error: Exception) -> tuple[str, str]:
    """A stable code and one line; what was not expected is in the log with its traceback."""
    if isinstance(error, OSError):
        error = disk_failure(error)
    if isinstance(error, P2PDeployError):
        return error.code, str(error)
    return "internal", f"internal error ({type(error).__name__}); see the daemon's log"
