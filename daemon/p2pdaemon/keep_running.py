"""Supervision of one service outside any change: run the build of record, tell how it is.

* What runs already is adopted; what runs and should not is stopped.
* A service that ends by itself is started again, ever later; a crash loop is reported.
* A service that stays unhealthy is reported and left alone: killing what answers a little, on
  every host at once, turns a slow dependency into an outage.  An operator or a rollout decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from p2pdaemon.log import get_logger
from p2pdaemon.race import first_of
from p2pdaemon.service_process import Run, ServiceProcess
from p2pdaemon.services.health import Health
from p2pdaemon.services.records import ExitRecord
from p2pdaemon.services.restart import CrashLoop, Exited, RestartPolicy
from p2pdaemon.store import ReleaseStore
from p2pdeploy.activation.events import ServiceBroke, ServiceRan
from p2pdeploy.errors import P2PDeployError, PayloadError
from p2pdeploy.messages.orders import Build

__all__ = ["keep_absent", "keep_running"]

_log = get_logger("service")
_files = trio.CapacityLimiter(2)

Tell = Callable[[ServiceRan | ServiceBroke], Awaitable[None]]


async def keep_absent(process: ServiceProcess, store: ReleaseStore) -> None:
    """Nothing of the service may run: stop what does, take ``current`` away."""
    await process.stop()
    await trio.to_thread.run_sync(store.switch, process.service, None, limiter=_files)


async def keep_running(
    process: ServiceProcess, store: ReleaseStore, build: Build, tell: Tell, *, start: bool = True
) -> None:
    """Run *build* for ever; cancelling leaves the service as it is.

    Args:
        process: Owned by this task while it lasts.
        store: Where ``current`` is put right, should a kill have left it behind.
        build: The build of record, staged.
        tell: Called when the service became healthy and when it broke, not for every check.
        start: False when an ABORT covers *build*: it stays while it runs, and when it does not
            it is reported and never started.
    """
    policy = RestartPolicy()
    while True:
        runtime_s = 0.0
        try:
            run = await _adopt(process, build)
            if run is None and not start:
                text = f"{build.version} was aborted and does not run; it is not started again"
                await tell(ServiceBroke(service=process.service, code="aborted", reason=text))
                await trio.sleep_forever()
            run = run or await _start(process, store, build)
            ended = await first_of(
                partial(process.wait_exit, run), partial(_watch, process, run, tell)
            )
            assert ended is not None, "watching never ends by itself"
            _log.warning("service ended", service=process.service, how=str(ended))
            runtime_s, reason = ended.runtime_s, str(ended)
        except P2PDeployError as error:
            _log.warning("service not started", service=process.service, error=str(error))
            reason = str(error)
        await _pause(process, policy, runtime_s, reason, tell)


async def _pause(
    process: ServiceProcess, policy: RestartPolicy, runtime_s: float, reason: str, tell: Tell
) -> None:
    """Report a crash loop, then wait as long as the policy says."""
    for effect in policy.handle(Exited(runtime_s), trio.current_time()):
        if isinstance(effect, CrashLoop):
            text = f"{effect.exits} exits in {effect.window_s:.0f} s; {reason}"
            await tell(ServiceBroke(service=process.service, code="crash-loop", reason=text))
        else:
            await trio.sleep(effect.delay_s)


async def _adopt(process: ServiceProcess, build: Build) -> Run | None:
    """The running instance of *build*, if there is one."""
    try:
        run = await process.adopt()
    except PayloadError:
        run = None  # it can't be judged, so it can't be the build of record
    if run is None or run.digest != build.digest:
        return None
    _log.info("service adopted", service=process.service, version=build.version, port=run.port)
    return run


async def _start(process: ServiceProcess, store: ReleaseStore, build: Build) -> Run:
    """Stop whatever runs and start *build*, whose tree is staged anew should it differ."""
    await process.stop()
    await process.make_ready(build)
    await trio.to_thread.run_sync(store.switch, process.service, build.digest, limiter=_files)
    run = await process.start(build)
    _log.info("service started", service=process.service, version=build.version, port=run.port)
    return run


async def _watch(process: ServiceProcess, run: Run, tell: Tell) -> ExitRecord | None:
    """Tell each change of the verdict, until cancelled."""
    timeout_s = run.launch.spec.health.start_timeout_s
    with trio.move_on_after(timeout_s) as patience:
        await process.wait_health(run, until=Health.HEALTHY)
    if patience.cancelled_caught:
        text = f"not healthy within {timeout_s:g} s: {run.counter.last_failure}"
        await tell(_sick(process, run, "never-healthy", text))
    while True:
        await process.wait_health(run, until=Health.HEALTHY)
        await tell(ServiceRan(service=process.service, port=run.port))
        detail = await process.wait_health(run, until=Health.UNHEALTHY)
        _log.warning("service unhealthy", service=process.service, detail=detail)
        await tell(_sick(process, run, "unhealthy", detail))


def _sick(process: ServiceProcess, run: Run, code: str, reason: str) -> ServiceBroke:
    """It runs and is not well: operators want to know where."""
    return ServiceBroke(service=process.service, code=code, reason=reason, port=run.port)
