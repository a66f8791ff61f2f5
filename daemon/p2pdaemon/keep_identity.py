"""Renew this host's certificates at half of their life, and go on asking until it works."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.disk import disk_failure
from p2pdaemon.log import get_logger
from p2pdaemon.renew import order_of
from p2pdaemon.renewal_schedule import RenewalSchedule
from p2pdeploy.errors import P2PDeployError, UnavailableError
from p2pdeploy.trust.host_identity import Validity, load_validity

__all__ = ["IdentityKeeper", "renewal_process", "validity_in"]

# Sleeping is by a clock that stands still in a suspended machine; certificates don't.
LOOK_EVERY_S = 600.0
RENEWAL_TIMEOUT_S = 600.0  # it may be sent away ten times for up to a minute
_STDERR_CHARS_MAX = 2_000

_files = trio.CapacityLimiter(1)
_log = get_logger("identity")


class IdentityKeeper:
    """Keeps the certificates of one host fresh.

    Args:
        validity: Says from when to when the certificates hold.
        renew: Replaces them, or raises one of our errors.
        rng: Draws the moments.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        validity: Callable[[], Awaitable[Validity | None]],
        renew: Callable[[], Awaitable[None]],
        rng: random.Random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._validity, self._renew = validity, renew
        self._schedule, self._clock = RenewalSchedule(rng), clock
        self._asked = trio.Event()

    def renew_now(self) -> None:
        """Don't wait for half of the life: what we present is refused already.  Never waits."""
        self._asked.set()

    async def keep_identity(self, renewed: Callable[[], Awaitable[None]]) -> None:
        """Task: renew when it is time, for ever; after each renewal *renewed* takes the files."""
        while True:
            await self._wait_until(self._schedule.due_at(await self._validity()))
            await self._renew_until_done(renewed)

    async def _wait_until(self, due: float) -> None:
        while True:
            wait_s = due - self._clock()
            if wait_s <= 0:
                return
            with trio.move_on_after(min(wait_s, LOOK_EVERY_S)):
                await self._asked.wait()
                self._asked = trio.Event()
                return

    async def _renew_until_done(self, renewed: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await self._renew()
                await renewed()
            except (P2PDeployError, OSError) as error:
                pause_s = self._schedule.pause_s()
                _log.warning(
                    "not renewed", code=_code_of(error), reason=str(error), again_s=round(pause_s)
                )
                await trio.sleep(pause_s)
            else:
                _log.info("certificates renewed")
                return


def _code_of(error: P2PDeployError | OSError) -> str:
    return error.code if isinstance(error, P2PDeployError) else disk_failure(error).code


def validity_in(folder: Path) -> Callable[[], Awaitable[Validity | None]]:
    """Reads how long the certificates in *folder* hold."""

    async def read() -> Validity | None:
        return await trio.to_thread.run_sync(load_validity, folder, limiter=_files)

    return read


def renewal_process(config: DaemonConfig) -> Callable[[], Awaitable[None]]:
    """Renews in a process of its own.

    What is returned raises UnavailableError whatever went wrong: the daemon serves on and tries
    again, since a person may mend any of it meanwhile.
    """
    order = msgspec.json.encode(order_of(config)).decode()
    command = [sys.executable, "-m", "p2pdaemon.renew", order]

    async def renew() -> None:
        with trio.move_on_after(RENEWAL_TIMEOUT_S) as scope:
            done = await trio.run_process(
                command,
                capture_stdout=True,
                capture_stderr=True,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            if done.returncode == 0:
                return
            reason = done.stderr.decode(errors="replace")[:_STDERR_CHARS_MAX]
            raise UnavailableError(reason or f"exit {done.returncode}", code="not-renewed")
        assert scope.cancelled_caught
        raise UnavailableError(f"no end within {RENEWAL_TIMEOUT_S:g} s", code="not-renewed")

    return renew
