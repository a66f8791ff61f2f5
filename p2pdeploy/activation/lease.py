"""When a GO counts, and when the clock may be believed.

Absence is the only message that crosses a partition: a host that hears nothing stops starting.
The lease ends at an absolute time signed by the control plane, because "seconds since I got it"
is extended without bound by every relay; the age since first receipt guards against a wall
clock that stands still.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from p2pdeploy.activation.events import Now
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.orders import Go, Grant

__all__ = ["Hold", "ReceivedGo", "clock_hold", "grant_of", "lease_hold"]


class Hold(msgspec.Struct, frozen=True):
    """Why nothing starts.  ``code`` is stable; ``until_boot_s`` when looking again may help."""

    code: str
    message: str
    until_boot_s: float | None = None


class ReceivedGo(msgspec.Struct, frozen=True):
    """A GO and the CLOCK_BOOTTIME at which this host first had it."""

    go: Go
    received_boot_s: float


def grant_of(
    received: ReceivedGo | None,
    service: ServiceName,
    plan_seq: int,
    phase: Literal["activate", "revert", "converge"],
) -> Grant | None:
    """The newest GO's grant for this plan and phase, valid or not."""
    if received is None:
        return None
    for grant in received.go.grants:
        if (grant.service, grant.plan_seq, grant.phase) == (service, plan_seq, phase):
            return grant
    return None


def lease_hold(
    received: ReceivedGo | None, now: Now, *, lease_s: float, clock_error_s: float
) -> Hold | None:
    """None while the lease of *received* allows starts, else why not."""
    if received is None:
        return Hold("no-go", "no GO from the control plane yet")
    if not now.wall_s + clock_error_s < received.go.not_after:
        return Hold("lease-expired", "the GO has expired; the control plane has not renewed it")
    if now.boot_s - received.received_boot_s >= lease_s:
        return Hold("lease-old", f"the GO was received more than {lease_s:g} s ago")
    return None


def clock_hold(now: Now, *, time_floor: float, clock_error_s: float) -> Hold | None:
    """None when the wall clock may be used to say yes, else why not."""
    if not now.synchronised:
        return Hold("clock-unsynchronised", "this host's clock error is unknown or too large")
    if now.wall_s < time_floor - clock_error_s:
        return Hold("clock-behind", "this host's clock is behind a time the control plane signed")
    return None
