"""SvcMgr: drives the activation core of this host and carries out what it decides.

* One task hands events to the core, one after the other, and carries out the effects of each in
  order before the next: what is attested was on the disk before.
* Each service has at most one task that touches its processes, and one that fetches for it.
* The core decides; nothing here knows of plans, leases or fault domains.
* While nobody believes this host (its enrolment was revoked, say) the core is told nothing, so
  that nothing begins: its change could neither be seen nor waited for.  What runs is left alone.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar, assert_never

import trio

from p2pdaemon.clock import HostClock
from p2pdaemon.collector import Collector
from p2pdaemon.journal import Journal
from p2pdaemon.log import get_logger
from p2pdaemon.make_room import Stager
from p2pdaemon.service_process import ServiceProcess
from p2pdaemon.service_tasks import ServiceTasks
from p2pdaemon.store import ReleaseStore
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
    Booted,
    Event,
    Now,
    Persisted,
    Woken,
)
from p2pdeploy.errors import P2PDeployError, UnavailableError
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.attestation import Attestation

__all__ = ["Core", "SvcMgr"]

T = TypeVar("T")

# A cell's anti-entropy brings at most a few hundred items at once; the sender waits beyond that.
EVENTS_MAX = 1024
BELIEF_ASKED_EVERY_S = 1.0  # it comes back with a renewal, which takes longer
WRITE_AGAIN_FIRST_S = 1.0
WRITE_AGAIN_MAX_S = 30.0
WAKE_SLICE_S = 30.0  # trio's clock stands still during suspend, CLOCK_BOOTTIME does not

_JOIN_AGAIN = "if it belongs here: stop this daemon, 'p2pdaemon join TOKEN --again', start it"

_log = get_logger("core")
_journal_thread = trio.CapacityLimiter(1)  # one record after the other


class Core(Protocol):
    """What SvcMgr needs of ``activation.host.HostActivation``."""

    def handle(self, event: Event, now: Now) -> list[Effect]: ...


class SvcMgr:
    """See the module.  ``run`` is its task; ``send`` is how anything reaches the core.

    Args:
        core: The pure state machine, built from the journal's records.
        clock: Tells the core's time.
        journal: Where records go, each on the disk before the next effect.
        store: Where builds lie.
        collector: Told what to keep.
        stager: Brings builds onto the disk.
        publish: Seals an attestation and spreads it.
        disbelief: Why nobody believes this host now; None while they do.
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
        stager: Stager,
        publish: Callable[[Attestation], None],
        disbelief: Callable[[], P2PDeployError | None],
        make_process: Callable[[ServiceName], ServiceProcess],
        rng: random.Random,
    ) -> None:
        self._core = core
        self._clock = clock
        self._journal = journal
        self._store = store
        self._collector = collector
        self._stager = stager
        self._publish = publish
        self._disbelief = disbelief
        self._make_process = make_process
        self._rng = rng
        self._send, self._receive = trio.open_memory_channel[Event](EVENTS_MAX)
        self._services: dict[ServiceName, ServiceTasks] = {}
        self._wake_at = math.inf
        self._wake_moved = trio.Event()

    def __repr__(self) -> str:
        return f"<SvcMgr {len(self._services)} services, {self._core!r}>"

    async def send(self, event: Event) -> None:
        """Hand *event* to the core; waits while very many are ahead of it."""
        await self._send.send(event)

    async def run(self) -> None:
        """Drive the core until cancelled.  Cancelling leaves every service running."""
        async with trio.open_nursery() as service_nursery:
            service_nursery.start_soon(self._fire_wakes)
            await self._wait_believed()
            await self._handle(Booted(), service_nursery)
            async for event in self._receive:
                await self._wait_believed()
                await self._handle(event, service_nursery)

    async def _wait_believed(self) -> None:
        error = self._disbelief()
        if error is None:
            return
        _log.error(
            "nobody believes this host: nothing is begun, what runs is left alone",
            code=error.code,
            reason=str(error),
            hint=_JOIN_AGAIN if error.code == "revoked" else "",
        )
        while error is not None:  # asked: what ends it comes from a renewal, or from other keys
            await trio.sleep(BELIEF_ASKED_EVERY_S)
            error = self._disbelief()
        _log.info("this host is believed again")

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
                await _write(self._journal.write_service, record)
            case PersistHost(record=record):
                await _write(self._journal.write_host, record)
            case Attest(attestation=attestation):
                self._publish(attestation)
            case Stage(service=service, build=build):
                self._tasks(service, service_nursery).stage(build)
            case StopStaging(service=service):
                self._tasks(service, service_nursery).stop_staging()
            case Change(service=service):
                self._tasks(service, service_nursery).change(effect)
            case Run(service=service, build=build, start=start):
                self._tasks(service, service_nursery).supervise(build, start=start)
            case Keep(service=service, digests=digests, rollback=rollback):
                self._collector.keep(service, digests, rollback)
            case Wake(at_boot_s=at_boot_s):
                self._wake_at = at_boot_s
                self._wake_moved.set()
            case _:
                assert_never(effect)

    def _tasks(self, service: ServiceName, service_nursery: trio.Nursery) -> ServiceTasks:
        if service not in self._services:
            self._services[service] = ServiceTasks(
                service,
                partial(self._make_process, service),
                service_nursery,
                store=self._store,
                stager=self._stager,
                send=self.send,
                rng=self._rng,
            )
        return self._services[service]

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


async def _write(work: Callable[[T], None], record: T) -> None:
    """Return when *record* is on the disk, however long that has no room for it.

    Nothing is decided meanwhile.  What a change depends on by then, its lease above all, the core
    looks at once more when it hears that the record is written.
    """
    pause_s = WRITE_AGAIN_FIRST_S
    while True:
        try:
            await trio.to_thread.run_sync(work, record, limiter=_journal_thread)
        except UnavailableError as error:
            _log.error("record not written", code=error.code, reason=str(error), again_s=pause_s)
        else:
            return
        await trio.sleep(pause_s)
        pause_s = min(2 * pause_s, WRITE_AGAIN_MAX_S)
