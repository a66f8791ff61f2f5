"""What one simulated host does to its services' processes; every step takes time.

A crash of the daemon cuts a change short between any two steps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from p2pdeploy.activation.effects import Change, Run
from p2pdeploy.activation.events import (
    INTERRUPTED,
    Activated,
    ActivationFailed,
    Event,
    Progressed,
    ServiceBroke,
    ServiceRan,
)
from p2pdeploy.activation.record import ServiceRecord, Started
from p2pdeploy.ids import HostName, ServiceName
from p2pdeploy.messages.orders import Build
from p2psim.disk import Disk
from p2psim.life import Life
from p2psim.processes import Outcome, ProcessTable
from p2psim.truth import Truth

__all__ = ["HostServices"]


class HostServices:
    """Carries out ``Change`` and ``Run``; how that goes is handed to *tell*."""

    def __init__(
        self,
        name: HostName,
        life: Life,
        disk: Disk,
        processes: ProcessTable,
        truth: Truth,
        tell: Callable[[Event], None],
    ) -> None:
        self._name = name
        self._life, self._disk, self._processes, self._truth = life, disk, processes, truth
        self._tell = tell

    # -- a change ------------------------------------------------------------------------------

    def change(self, effect: Change) -> None:
        if effect.resume:
            self._resume(effect.service, effect.started)
        else:
            self._stop_old(effect.service, effect.started)

    def _stop_old(self, service: ServiceName, started: Started) -> None:
        """Then start the new."""
        interrupts = service in self._processes.running
        record = self._disk.records[service]
        self._truth.touched(self._name, started, record, interrupts=interrupts)
        starting = Progressed(service=service, state="starting")
        self._life.later(0.0, partial(self._tell, starting))
        self._life.later(self._processes.stop_s(), partial(self._start_new, service, started))

    def _start_new(self, service: ServiceName, started: Started) -> None:
        self._processes.running.pop(service, None)
        if started.build is None:
            self._end(Activated(service=service, started=started))
            return
        outcome = self._start(service, started.build, started.bake_s)
        if outcome.failed_after_s is not None:
            failed = partial(self._put_back, service, started, outcome.code)
            self._life.later(outcome.failed_after_s, failed)
            return
        self._life.later(outcome.healthy_after_s, partial(self._bake, service, started))

    def _bake(self, service: ServiceName, started: Started) -> None:
        assert started.build is not None
        self._processes.running[service] = started.build
        self._tell(Progressed(service=service, state="baking"))
        done = Activated(service=service, started=started)
        self._life.later(started.bake_s, partial(self._end, done))

    def _put_back(self, service: ServiceName, started: Started, code: str) -> None:
        untouched = self._processes.running.get(service) == started.previous
        if not untouched:
            self._processes.running.pop(service, None)
        going_back = Progressed(service=service, state="rolling-back")
        self._life.later(0.0, partial(self._tell, going_back))
        delay_s = 0.1
        if started.previous is not None and not untouched:
            delay_s = self._start(service, started.previous, 0.0).healthy_after_s

        def restored() -> None:
            if started.previous is not None:
                self._processes.running[service] = started.previous
            self._end(
                ActivationFailed(
                    service=service, started=started, code=code, reason=code, restored=True
                )
            )

        self._life.later(delay_s, restored)

    def _end(self, event: Activated | ActivationFailed) -> None:
        self._truth.ended(self._name, event.service)
        self._tell(event)

    def _resume(self, service: ServiceName, started: Started) -> None:
        """After a crash in the middle: finish if the new build runs, else put the old one back."""
        running = self._processes.running.get(service)
        if started.build is not None and running == started.build:
            self._life.later(0.1, partial(self._bake, service, started))
        elif started.build is None and running is None:
            self._life.later(0.1, partial(self._end, Activated(service=service, started=started)))
        else:
            self._put_back(service, started, INTERRUPTED)

    # -- outside a change ----------------------------------------------------------------------

    def run(self, effect: Run) -> None:
        """Get the build to run, or nothing; without ``start`` it may only go on running."""
        service, build = effect.service, effect.build
        if build is None:
            self._processes.running.pop(service, None)
            return
        if self._processes.running.get(service) == build:
            self._life.later(0.05, partial(self._tell, ServiceRan(service=service)))
            return
        if not effect.start:
            gone = ServiceBroke(service=service, code="aborted", reason="aborted")
            self._life.later(0.05, partial(self._tell, gone))
            return
        outcome = self._start(service, build, 0.0)
        if outcome.failed_after_s is not None:
            broke = ServiceBroke(service=service, code=outcome.code, reason=outcome.code)
            self._life.later(outcome.failed_after_s, partial(self._tell, broke))
            return
        self._life.later(outcome.healthy_after_s, partial(self._ran, service, build))

    def _ran(self, service: ServiceName, build: Build) -> None:
        """The supervisor got it to run, unless something else is wanted by now."""
        if self._disk.is_settled_on(service, build):
            self._processes.running[service] = build
            self._tell(ServiceRan(service=service))

    def regress(self, service: ServiceName, for_s: float) -> bool:
        """A healthy service dies and crash-loops for a while; False if there is none."""
        build = self._processes.running.get(service)
        if build is None or not self._disk.is_settled_on(service, build):
            return False
        del self._processes.running[service]
        broke = ServiceBroke(service=service, code="crash-loop", reason="exited with 1")
        self._life.later(0.0, partial(self._tell, broke))
        self._life.later(for_s, partial(self._ran, service, build))
        return True

    def _start(self, service: ServiceName, build: Build, bake_s: float) -> Outcome:
        """Start *build*, for whatever reason."""
        record = self._disk.records.get(service, ServiceRecord(service=service))
        self._truth.started(self._name, build, record, self._disk.builds(service))
        return self._processes.start(build, bake_s)
