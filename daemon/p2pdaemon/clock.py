"""The host's clocks, and whether the wall clock may be believed.

Synchronised means: the kernel says so (a time daemon disciplines it and its own estimate of the
error is in bounds), or the offset to the control plane was measured within the last minute and is
in bounds even with the measurement's own error added.  No switch skips it.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

import msgspec

from p2pdeploy.activation.events import Now
from p2pdeploy.limits import CLOCK_ERROR_S

__all__ = ["HostClock", "OffsetMeasured", "boottime_s", "kernel_error_s"]

# A crystal drifts about 50 ppm: 3 ms in this time, nothing against CLOCK_ERROR_S.
OFFSET_AGE_MAX_S = 60.0
_KERNEL_AGE_MAX_S = 5.0  # a system call per event would be waste; the state changes by the minute

_STA_UNSYNC = 0x0040  # <linux/timex.h>: the kernel's clock is not disciplined
_TIME_ERROR = 5


class OffsetMeasured(msgspec.Struct, frozen=True, kw_only=True):
    """Control plane's time minus ours, known to within ``error_s`` (half the round trip)."""

    offset_s: float
    error_s: float
    boot_s: float


class HostClock:
    """Tells :class:`Now`.  Fed with offsets by whoever talks to the control plane."""

    def __init__(
        self,
        *,
        clock_error_s: float = CLOCK_ERROR_S,
        kernel: Callable[[], float | None] | None = None,
        boot_s: Callable[[], float] | None = None,
        wall_s: Callable[[], float] | None = None,
    ) -> None:
        self._clock_error_s = clock_error_s
        self._ask_kernel = kernel or kernel_error_s
        self._boot_s = boot_s or boottime_s
        self._wall_s = wall_s or time.time
        self._offset: OffsetMeasured | None = None
        self._kernel: tuple[float, bool] | None = None  # asked at (boot_s), in bounds

    def now(self) -> Now:
        boot_s = self._boot_s()
        return Now(boot_s, self._wall_s(), self._offset_holds(boot_s) or self._kernel_holds(boot_s))

    def learn_offset(self, offset_s: float, error_s: float) -> None:
        """Remember a measurement just made; the newest counts, good or bad."""
        self._offset = OffsetMeasured(offset_s=offset_s, error_s=error_s, boot_s=self._boot_s())

    def offset(self) -> OffsetMeasured | None:
        """The newest measurement, however old."""
        return self._offset

    def _offset_holds(self, boot_s: float) -> bool:
        measured = self._offset
        if measured is None or boot_s - measured.boot_s > OFFSET_AGE_MAX_S:
            return False
        return abs(measured.offset_s) + measured.error_s < self._clock_error_s

    def _kernel_holds(self, boot_s: float) -> bool:
        if self._kernel is None or boot_s - self._kernel[0] > _KERNEL_AGE_MAX_S:
            error_s = self._ask_kernel()
            self._kernel = (boot_s, error_s is not None and error_s < self._clock_error_s)
        return self._kernel[1]


def boottime_s() -> float:
    """Seconds since boot; goes on during suspend and never jumps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Timex(ctypes.Structure):
    """``struct timex`` of Linux on 64-bit machines; adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),  # microseconds
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),  # fields we do not read; the kernel writes fewer
    )


def kernel_error_s() -> float | None:
    """The kernel's bound on the wall clock's error, or None when it does not vouch for it."""
    timex = _Timex()  # modes 0: read only, needs no privilege
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if state < 0 or state == _TIME_ERROR or timex.status & _STA_UNSYNC:
        return None
    return timex.maxerror / 1e6
