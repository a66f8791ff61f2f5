"""Renew this host's certificates at half of their life, and go on asking until it works.

Both moments are drawn by lot: the hosts of a fleet that was made in a minute, or whose control
plane was down for two days, don't come back in the same second.
"""

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
from p2pdaemon.log import get_logger
from p2pdaemon.renew import order_of
from p2pdeploy.errors import P2PDeployError, UnavailableError
from p2pdeploy.trust.host_identity import Validity, load_validity

__all__ = ["IdentityKeeper", "renewal_process", "renewal_time", "retry_pause_s", "validity_in"]

_HALF, _SPREAD = 0.5, 0.1  # of the whole life
RETRY_FIRST_S = 15.0
# Four tries an hour.  3,000 hosts that wait for the same control plane are 7 a second on average.
RETRY_MAX_S = 900.0
# Sleeping is by a clock that stands still in a suspended machine; certificates don't.
LOOK_EVERY_S = 600.0
RENEWAL_TIMEOUT_S = 600.0  # it may be sent away ten times for up to a minute
_STDERR_CHARS_MAX = 2_000

_files = trio.CapacityLimiter(1)
_log = get_logger("identity")


def renewal_time(validity: Validity | None, rng: random.Random) -> float:
    """When to renew, in seconds since the epoch; 0 when it is not known how long we have."""
    if validity is None:
        return 0.0
    life_s = validity.expires_at - validity.issued_at
    return validity.issued_at + life_s * rng.uniform(_HALF - _SPREAD, _HALF + _SPREAD)


def retry_pause_s(before_s: float, rng: random.Random) -> float:
    """How long to wait after one more failure: decorrelated jitter.

    The bound is on what is drawn from, not on what was drawn: two thirds of the hosts would wait
    for exactly that long, and stay together for ever.

    Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
    """
    return rng.uniform(RETRY_FIRST_S, min(RETRY_MAX_S, before_s * 3))


class IdentityKeeper:
    """Keeps the certificates of one host fresh.

    Args:
        validity: Says from when to when the certificates hold.
        renew: Replaces them, or raises one of our errors.
        renewed: Called after that; the daemon takes the new files.
        rng: Draws the moments.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        validity: Callable[[], Awaitable[Validity | None]],
        renew: Callable[[], Awaitable[None]],
        renewed: Callable[[], None],
        rng: random.Random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._validity, self._renew, self._renewed = validity, renew, renewed
        self._rng, self._clock = rng, clock
        self._asked = trio.Event()

    def renew_now(self) -> None:
        """Don't wait for half of the life: what we present is refused already.  Never waits."""
        self._asked.set()

    async def keep_identity(self) -> None:
        """Task: renew when it is time, for ever."""
        while True:
            await self._wait_until(renewal_time(await self._validity(), self._rng))
            await self._renew_until_done()

    async def _wait_until(self, due: float) -> None:
        while True:
            wait_s = due - self._clock()
            if wait_s <= 0:
                return
            with trio.move_on_after(min(wait_s, LOOK_EVERY_S)):
                await self._asked.wait()
                self._asked = trio.Event()
                return

    async def _renew_until_done(self) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            try:
                await self._renew()
                self._renewed()
            except P2PDeployError as error:
                pause_s = retry_pause_s(pause_s, self._rng)
                _log.warning(
                    "not renewed", code=error.code, reason=str(error), again_s=round(pause_s)
                )
                await trio.sleep(pause_s)
            else:
                _log.info("certificates renewed")
                return


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
