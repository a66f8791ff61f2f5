"""SvcMgr: drives the activation core of this host and carries out what it decides.

* One task hands events to the core, one after the other, and carries out the effects of each in
  order before the next: what is attested was on the disk before.
* Each service has at most one task that touches its processes, and one that fetches for it.
* The core decides; nothing here knows of plans, leases or fault domains.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar, assert_never

import trio

from p2pdaemon.clock import HostClock
from p2pdaemon.collector import Collector
from p2pdaemon.get_and_run_svc import GetAndRunSvc
from p2pdaemon.isolate import isolated
from p2pdaemon.journal import Journal
from p2pdaemon.keep_running import keep_absent, keep_running
from p2pdaemon.log import get_logger
from p2pdaemon.service_process import ServiceProcess
from p2pdaemon.store import ReleaseStore
from p2pdaemon.task_slot import TaskSlot
from p2pdeploy.activation.effects import (
    Attest,
    Change,
    Effect,
    Keep,
    Persist,
    PersistHost,
    Run,
    Stage,
    StopStaging,
    Wake,
)
from p2pdeploy.activation.events import (
    Activated,
    ActivationFailed,
    Booted,
    Event,
    Now,
    Persisted,
    Progressed,
    ServiceBroke,
    ServiceRan,
    Staged,
    StagingFailed,
    Woken,
)
from p2pdeploy.errors import P2PDeployError
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.attestation import Attestation, ServiceState
from p2pdeploy.messages.orders import Build

__all__ = ["Core", "SvcMgr"]

T = TypeVar("T")

# A cell's anti-entropy brings at most a few hundred items at once; the sender waits beyond that.
EVENTS_MAX = 1024
STAGE_RETRY_FIRST_S = 1.0  # a control plane or a neighbour that restarts is back in seconds
STAGE_RETRY_MAX_S = 30.0  # and one that is down for long is not asked by every host at once
CRASH_PAUSE_S = 5.0  # before a supervision that crashed begins again
WAKE_SLICE_S = 30.0  # trio's clock stands still during suspend, CLOCK_BOOTTIME does not

_log = get_logger("svc_mgr")
_journal_thread = trio.CapacityLimiter(1)  # one record after the other


class Core(Protocol):
    """What SvcMgr needs of ``activation.host.HostActivation``."""

    def handle(self, event: Event, now: Now) -> list[Effect]: ...


@dataclass(frozen=True)
class _Service:
    """The two tasks of one service."""

    process: ServiceProcess
    work: TaskSlot  # touches processes: a change, or supervision
    fetch: TaskSlot


class SvcMgr:
    """See the module.  ``run`` is its task; ``send`` is how anything reaches the core.

    Args:
        core: The pure state machine, built from the journal's records.
        clock: Tells the core's time.
        journal: Where records go, each on the disk before the next effect.
        store: Where builds lie.
        collector: Told what to keep.
        stage: Brings a build onto the disk, or raises; it is called again later.
        publish: Seals an attestation and spreads it.
        make_process: Makes the handle on a service's processes.
        rng: Spreads retries.
    """

    def __init__(
        self,
        core: Core,
        *,
        clock: HostClock,
        journal: Journal,
        store: ReleaseStore,
        collector: Collector,
        stage: Callable[[ServiceName, Build], Awaitable[Staged]],
        publish: Callable[[Attestation], None],
        make_process: Callable[[ServiceName], ServiceProcess],
        rng: random.Random,
    ) -> None:
        self._core = core
        self._clock = clock
        self._journal = journal
        self._store = store
        self._collector = collector
        self._stage = stage
        self._publish = publish
        self._make_process = make_process
        self._rng = rng
        self._send, self._receive = trio.open_memory_channel[Event](EVENTS_MAX)
        self._services: dict[ServiceName, _Service] = {}
        self._wake_at = math.inf
        self._wake_moved = trio.Event()

    def __repr__(self) -> str:
        return f"<SvcMgr {len(self._services)} services, {self._core!r}>"

    async def send(self, event: Event) -> None:
        """Hand *event* to the core; waits while very many are ahead of it."""
        await self._send.send(event)

    def service_names(self) -> list[ServiceName]:
        """Every service that has a task here, in name order."""
        return sorted(self._services)

    async def run(self) -> None:
        """Drive the core until cancelled.  Cancelling leaves every service running."""
        async with trio.open_nursery() as service_nursery:
            service_nursery.start_soon(self._fire_wakes)
            await self._handle(Booted(), service_nursery)
            async for event in self._receive:
                await self._handle(event, service_nursery)

    async def _handle(self, event: Event, service_nursery: trio.Nursery) -> None:
        """Hand *event* to the core; Persisted comes after all that arrived during the fsync.

        Otherwise the core's last look at GO and ABORT would see nothing new.
        """
        confirmed = await self._hand_in(event, service_nursery)
        while confirmed:
            service = confirmed.popleft()
            for _ in range(EVENTS_MAX):
                try:
                    arrived = self._receive.receive_nowait()
                except trio.WouldBlock:
                    break
                confirmed += await self._hand_in(arrived, service_nursery)
            confirmed += await self._hand_in(Persisted(service), service_nursery)

    async def _hand_in(self, event: Event, service_nursery: trio.Nursery) -> deque[ServiceName]:
        """Carry out what the core answers; returns the services whose record it awaits."""
        confirmed: deque[ServiceName] = deque()
        for effect in self._core.handle(event, self._clock.now()):
            await self._carry_out(effect, service_nursery)
            if isinstance(effect, Persist) and effect.confirm:
                confirmed.append(effect.record.service)
        return confirmed

    async def _carry_out(self, effect: Effect, service_nursery: trio.Nursery) -> None:
        match effect:
            case Persist(record=record):
                await _hop(self._journal.write_service, record)
            case PersistHost(record=record):
                await _hop(self._journal.write_host, record)
            case Attest(attestation=attestation):
                self._publish(attestation)
            case Stage(service=service, build=build):
                tasks = self._tasks(service, service_nursery)
                tasks.fetch.replace(partial(self._stage_until_done, service, build))
            case StopStaging(service=service):
                self._tasks(service, service_nursery).fetch.cancel()
            case Change(service=service):
                tasks = self._tasks(service, service_nursery)
                tasks.work.replace(partial(self._change, tasks.process, effect))
            case Run(service=service, build=build, start=start):
                tasks = self._tasks(service, service_nursery)
                tasks.work.replace(partial(self._supervise, tasks.process, build, start))
            case Keep(service=service, digests=digests):
                self._collector.keep(service, digests)
            case Wake(at_boot_s=at_boot_s):
                self._wake_at = at_boot_s
                self._wake_moved.set()
            case _:
                assert_never(effect)

    def _tasks(self, service: ServiceName, service_nursery: trio.Nursery) -> _Service:
        tasks = self._services.get(service)
        if tasks is None:
            process = self._make_process(service)
            tasks = _Service(process, TaskSlot(service_nursery), TaskSlot(service_nursery))
            self._services[service] = tasks
        return tasks

    # -- one service's tasks -----------------------------------------------------------------

    async def _change(self, process: ServiceProcess, effect: Change) -> None:
        service, started = effect.service, effect.started

        async def report(state: ServiceState, port: int) -> None:
            await self.send(Progressed(service=service, state=state, port=port))

        async def change() -> None:
            step = GetAndRunSvc(process, self._store, report)
            outcome: Activated | ActivationFailed = await step.change(started, resume=effect.resume)
            await self.send(outcome)

        error = await isolated(f"change {service}", change)
        if error is not None:
            code, reason = _explain(error)
            await self.send(
                ActivationFailed(
                    service=service, started=started, code=code, reason=reason, restored=False
                )
            )

    async def _supervise(self, process: ServiceProcess, build: Build | None, start: bool) -> None:
        service = process.service

        async def tell(event: ServiceRan | ServiceBroke) -> None:
            await self.send(event)

        while True:
            if build is None:
                error = await isolated(
                    f"keep {service} absent", partial(keep_absent, process, self._store)
                )
                if error is None:
                    return
            else:
                error = await isolated(
                    f"keep {service} running",
                    partial(keep_running, process, self._store, build, tell, start=start),
                )
                assert error is not None, "supervision ends by an error or by cancellation"
            code, reason = _explain(error)
            await tell(ServiceBroke(service=service, code=code, reason=reason))
            await trio.sleep(CRASH_PAUSE_S)

    async def _stage_until_done(self, service: ServiceName, build: Build) -> None:
        delay_s = STAGE_RETRY_FIRST_S

        async def stage() -> None:
            await self.send(await self._stage(service, build))

        while error := await isolated(f"stage {service} {build.version}", stage):
            code, reason = _explain(error)
            await self.send(
                StagingFailed(service=service, digest=build.digest, code=code, reason=reason)
            )
            await trio.sleep(delay_s * self._rng.uniform(0.5, 1.0))
            delay_s = min(delay_s * 2, STAGE_RETRY_MAX_S)

    # -- timers ------------------------------------------------------------------------------

    async def _fire_wakes(self) -> None:
        """Send Woken when the newest Wake's time has come."""
        while True:
            self._wake_moved = trio.Event()
            wait_s = self._wake_at - self._clock.now().boot_s
            if wait_s <= 0:
                self._wake_at = math.inf
                await self.send(Woken())
                continue
            with trio.move_on_after(min(wait_s, WAKE_SLICE_S)):
                await self._wake_moved.wait()


def _explain(error: Exception) -> tuple[str, str]:
    """A stable code and one line; what was not expected is in the log with its traceback."""
    if isinstance(error, P2PDeployError):
        return error.code, str(error)
    return "internal", f"internal error ({type(error).__name__}); see the daemon's log"


async def _hop(work: Callable[[T], None], record: T) -> None:
    await trio.to_thread.run_sync(work, record, limiter=_journal_thread)
