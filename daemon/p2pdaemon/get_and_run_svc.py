"""GetAndRunSvc: carry out one change of one service, or undo it.

The steps, in order; each may be repeated and leaves the truth on the disk::

    preflight       the tree is what the manifest says, or is staged anew; service.toml parses;
                    nothing is touched yet
    stop the old    its stop signal, then a kill of everything it started
    switch          `current` by an atomic rename, refused when the tree differs now
    start the new   under its own supervisor, on the port kept across versions
    wait healthy    at most start_timeout_s
    bake            health holds for bake_s, and it does not exit

A step that fails is written down first, then the build of before is put back: a daemon killed
while it goes back must not come up believing that the new build was merely interrupted.
The whole change ends within ``activation_max_s``.  Fetching is :mod:`p2pdaemon.stage_build`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar, TypeVarTuple, Unpack

import trio

from p2pdaemon.disk import disk_failure
from p2pdaemon.failure_note import Failure, FailureNote
from p2pdaemon.log import get_logger
from p2pdaemon.race import first_of
from p2pdaemon.service_process import Run, ServiceProcess
from p2pdaemon.services.health import Health
from p2pdaemon.store import ReleaseStore
from p2pdeploy.activation.events import INTERRUPTED, Activated, ActivationFailed
from p2pdeploy.activation.record import Started
from p2pdeploy.errors import P2PDeployError, PayloadError, UnavailableError
from p2pdeploy.ids import Digest
from p2pdeploy.messages.attestation import ServiceState
from p2pdeploy.messages.orders import Build

__all__ = ["GetAndRunSvc"]

# The budget is 2 (stop_timeout_s + start_timeout_s) + bake_s + 10: going back may take as long
# as one stop and one start, but never so much that nothing is left to go forward with.
UNDO_SHARE_MAX = 0.5
UNDO_SPARE_S = 5.0  # half of the 10

_log = get_logger("change")
_files = trio.CapacityLimiter(4)  # links and notes; one change at a time on this host

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Report = Callable[[ServiceState, int], Awaitable[None]]
"""Tells the core how far a change is, with the port it will serve on."""


class GetAndRunSvc:
    """One change of one service.

    Args:
        process: The service's process, owned by this change while it lasts.
        store: Where its builds lie, staged.
        report: Called as the change moves on.
    """

    def __init__(self, process: ServiceProcess, store: ReleaseStore, report: Report) -> None:
        self._process = process
        self._store = store
        self._report = report
        self._service = process.service
        self._note = FailureNote(store.service_dir(process.service))
        self._log = _log.bind(service=process.service)

    async def change(self, started: Started, *, resume: bool) -> Activated | ActivationFailed:
        """Carry out *started*, or with *resume* finish or undo what a daemon before left.

        Returns:
            What came of it; on failure the build of before runs again, or nothing does, unless
            ``restored`` is False.  Never raises an expected error, be it the disk's.
        """
        deadline = trio.current_time() + started.activation_max_s
        undo_s = min(await self._undo_budget_s(started), started.activation_max_s * UNDO_SHARE_MAX)
        failure = await self._try_forward(started, deadline - undo_s, resume=resume)
        if isinstance(failure, int):
            return Activated(service=self._service, started=started, port=failure)
        self._log.warning("change failed", code=failure.code, reason=failure.reason)
        restored, port = await self._try_undo(started, deadline)
        return ActivationFailed(
            service=self._service,
            started=started,
            code=failure.code,
            reason=failure.reason,
            restored=restored,
            port=port,
        )

    # -- forward -----------------------------------------------------------------------------

    async def _try_forward(
        self, started: Started, deadline: float, *, resume: bool
    ) -> int | Failure:
        """The port it serves on, or why it failed (on disk by then)."""
        try:
            if resume:
                known = await _hop(self._note.read, started)
                if known is not None:
                    return known
            else:
                await _hop(self._note.clear)
            with trio.fail_at(deadline):
                return await (self._resume(started) if resume else self._forward(started))
        except _Interrupted:
            return Failure(INTERRUPTED, "the daemon died in the middle of the change")
        except trio.TooSlowError:
            failure = Failure("too-slow", f"not done within {started.activation_max_s:g} s")
        except P2PDeployError as error:
            failure = Failure(error.code, str(error))
        except OSError as error:
            failure = _of_disk(error)
        await self._try_note(started, failure)
        return failure

    async def _try_note(self, started: Started, failure: Failure) -> None:
        """Going back matters more than the note: a disk that refuses it must not keep the old out.

        A daemon killed before the end of it has the next one judge the new build once more.
        """
        try:
            await _hop(self._note.write, started, failure)
        except P2PDeployError as error:
            self._log.error("failure not noted", code=error.code, error=str(error))

    async def _forward(self, started: Started) -> int:
        if started.build is not None:
            await self._process.make_ready(started.build)
            await self._process.look(started.build)
        await self._report("starting", 0)
        await self._process.stop()
        await _hop(self._store.switch, self._service, _digest(started.build))
        if started.build is None:
            return 0
        run = await self._process.start(started.build)
        self._log.info("started", version=started.build.version, port=run.port)
        return await self._prove(run, started.bake_s)

    async def _resume(self, started: Started) -> int:
        """Finish if the new build runs; the new build is never started here: no lease covers it."""
        run = await self._process.adopt()
        if run is None and started.build is None:
            await _hop(self._store.switch, self._service, None)
            return 0
        if run is None or started.build is None or run.digest != started.build.digest:
            raise _Interrupted("the new build does not run")
        self._log.info("adopted", version=started.build.version, port=run.port)
        await _hop(self._store.switch, self._service, started.build.digest)
        return await self._prove(run, started.bake_s)

    async def _prove(self, run: Run, bake_s: float) -> int:
        """Healthy in time, and through the bake.  Raises PayloadError otherwise."""
        await self._wait_healthy(run)
        await self._report("baking", run.port)
        with trio.move_on_after(bake_s):
            reason = await first_of(
                partial(self._exit_reason, run),
                partial(self._process.wait_health, run, until=Health.UNHEALTHY),
            )
            raise PayloadError(f"failed during its bake: {reason}", code="bake-failed")
        return run.port

    async def _wait_healthy(self, run: Run) -> None:
        timeout_s = run.launch.spec.health.start_timeout_s
        with trio.move_on_after(timeout_s):
            ended = await first_of(partial(self._exit_reason, run), partial(self._healthy, run))
            if ended is None:
                return
            raise PayloadError(f"ended before it was healthy: {ended}", code="exited")
        raise PayloadError(
            f"not healthy within {timeout_s:g} s: {run.counter.last_failure}", code="never-healthy"
        )

    async def _healthy(self, run: Run) -> None:
        await self._process.wait_health(run, until=Health.HEALTHY)

    async def _exit_reason(self, run: Run) -> str:
        return str(await self._process.wait_exit(run))

    # -- back --------------------------------------------------------------------------------

    async def _undo_budget_s(self, started: Started) -> float:
        """How long stopping the new build and starting the one before may take."""
        budget_s = UNDO_SPARE_S
        for build, stops in ((started.build, True), (started.previous, False)):
            if build is not None:
                try:
                    spec = (await self._process.look(build)).spec
                except P2PDeployError:
                    continue  # the step that needs it says so
                budget_s += spec.run.stop_timeout_s if stops else spec.health.start_timeout_s
        return budget_s

    async def _try_undo(self, started: Started, deadline: float) -> tuple[bool, int]:
        """Whether what ran before runs again and is healthy (or nothing, as before), and where."""
        try:
            with trio.fail_at(deadline):
                return True, await self._undo(started.previous)
        except trio.TooSlowError:
            self._log.error("cannot go back in time")
        except P2PDeployError as error:
            self._log.error("cannot go back", code=error.code, error=str(error))
        except OSError as error:
            failure = _of_disk(error)
            self._log.error("cannot go back", code=failure.code, error=failure.reason)
        return False, 0

    async def _undo(self, previous: Build | None) -> int:
        await self._report("rolling-back", 0)
        run = await self._adopt_or_none()
        if run is None or previous is None or run.digest != previous.digest:
            await self._process.stop()
            run = None
            if previous is not None:
                await self._process.make_ready(previous)
        await _hop(self._store.switch, self._service, _digest(previous))
        if previous is None:
            return 0
        if run is None:
            run = await self._process.start(previous)
        await self._wait_healthy(run)
        return run.port

    async def _adopt_or_none(self) -> Run | None:
        try:
            return await self._process.adopt()
        except PayloadError:
            return None  # what runs can't be judged: it is stopped like a stranger


class _Interrupted(UnavailableError):
    """On resume the new build does not run: its change was cut off before that."""


async def _hop(work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
    return await trio.to_thread.run_sync(work, *args, limiter=_files)


def _of_disk(error: OSError) -> Failure:
    failure = disk_failure(error)
    return Failure(failure.code, str(failure))


def _digest(build: Build | None) -> Digest | None:
    return build.digest if build else None
