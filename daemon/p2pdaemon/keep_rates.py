"""Keep this host within its rates: what people set, and what it yields to its own services.

While pieces move it looks once a second, else now and then: an idle daemon costs nothing.  What
libtorrent moves is limited in libtorrent; deals of the origin are drawn more slowly
(:mod:`p2pdeploy.swarm.pace`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
import trio

from p2pdaemon.log import get_logger
from p2pdaemon.rate_limits import KnownRateLimits
from p2pdeploy.ids import HostName
from p2pdeploy.messages.rates import RatesInForce
from p2pdeploy.swarm.pace import DealPace
from p2pdeploy.swarm.pressure import PressureSample, pressure_of
from p2pdeploy.swarm.rates import peer_rate, rates_in_force, uplink_share
from p2pdeploy.swarm.session import Traffic
from p2pdeploy.swarm.yielding import Ceiling, adapted

__all__ = ["RateKeeper"]

LOOK_EVERY_S = 1.0  # while something moves
LOOK_IDLE_S = 5.0  # else: how late yielding may begin
ACTIVE_BYTES_PER_S = 64 * 1024  # less hurts nobody: a piece now and then for a late neighbour

_log = get_logger("rates")


class Signals(Protocol):
    """What tells of pressure: :class:`~p2pdaemon.pressure_signals.PressureSignals`."""

    @property
    def missing(self) -> tuple[str, ...]: ...
    def sample(self) -> PressureSample | None: ...
    def forget(self) -> None: ...


class Peers(Protocol):
    """What moves bytes: :class:`~p2pdeploy.swarm.session.Session`."""

    @property
    def reaches_far(self) -> bool: ...
    def limit_far(self, download_bytes_per_s: int | None) -> None: ...
    def limit_rates(
        self, download_bytes_per_s: int | None, upload_bytes_per_s: int | None
    ) -> None: ...
    async def traffic(self) -> Traffic: ...


class _Look(msgspec.Struct, frozen=True):
    """What was counted up to one moment, in bytes."""

    at: float
    received: int
    sent: int
    dealt: int


class RateKeeper:
    """Applies rates.

    Args:
        me: This host.
        known: The limits that were told.
        peers: Moves bytes between hosts.
        pace: Slows deals down.
        signals: Tell of pressure; None: this host yields to nobody.
        alive: How many hosts of the cell are alive, this one included.
    """

    def __init__(
        self,
        me: HostName,
        known: KnownRateLimits,
        peers: Peers,
        pace: DealPace,
        signals: Signals | None,
        alive: Callable[[], int],
    ) -> None:
        self._me, self._known, self._peers = me, known, peers
        self._pace, self._signals, self._alive = pace, signals, alive
        self._down = self._up = Ceiling()
        self._rates = RatesInForce()
        self._applied: tuple[int | None, int | None] = (None, None)
        self._applied_far: int | None = None
        self._before: _Look | None = None
        self._told_missing = False

    def __repr__(self) -> str:
        return f"<RateKeeper {self._rates}>"

    def rates(self) -> RatesInForce:
        """What this host keeps to now."""
        return self._rates

    async def keep_rates(self) -> None:
        """Task: look and apply, for ever; at once when limits change."""
        while True:
            changed = self._known.changed
            is_active = await self._look()
            with trio.move_on_after(LOOK_EVERY_S if is_active else LOOK_IDLE_S):
                await changed.wait()

    async def _look(self) -> bool:
        """Look once, and apply what follows; returns whether something moves."""
        before, now = self._before, await self._count()
        self._before = now
        elapsed_s = now.at - before.at if before else 0.0
        if before is None or elapsed_s <= 0:
            self._apply(0, now.at)
            return False
        received, sent, dealt = (
            int((new - old) / elapsed_s)
            for new, old in (
                (now.received, before.received),
                (now.sent, before.sent),
                (now.dealt, before.dealt),
            )
        )
        self._pace.note_peers(now.received - before.received, now.at)
        is_active = max(received + dealt, sent) > ACTIVE_BYTES_PER_S or self._pace.is_waiting(
            now.at
        )
        self._yield(received + dealt, sent, elapsed_s, is_active=is_active)
        self._apply(dealt, now.at)
        return is_active

    async def _count(self) -> _Look:
        traffic = await self._peers.traffic()
        return _Look(
            at=trio.current_time(),
            received=traffic.received_bytes,
            sent=traffic.sent_bytes,
            dealt=self._pace.dealt_bytes,
        )

    def _yield(self, down: int, up: int, elapsed_s: float, *, is_active: bool) -> None:
        """Move the ceilings; a host that moves nothing has none."""
        if self._signals is None:
            return
        if not is_active:
            self._signals.forget()
            self._down = self._up = Ceiling()
            return
        sample = self._signals.sample()  # a fifth of a millisecond: as long as the way to a thread
        self._tell_missing(self._signals.missing)
        if sample is None:
            return
        pressure, limit = pressure_of(sample), self._known.newest.of_host(self._me)
        self._down = adapted(
            self._down,
            pressure,
            used_bytes_per_s=down,
            limit_bytes_per_s=limit.download_bytes_per_s,
            elapsed_s=elapsed_s,
        )
        self._up = adapted(
            self._up,
            pressure,
            used_bytes_per_s=up,
            limit_bytes_per_s=limit.upload_bytes_per_s,
            elapsed_s=elapsed_s,
        )

    def _tell_missing(self, missing: tuple[str, ...]) -> None:
        if missing and not self._told_missing:
            self._told_missing = True
            _log.warning(
                "this kernel or container does not tell all of its pressure", missing=missing
            )

    def _apply(self, dealt_bytes_per_s: int, now: float) -> None:
        limits = self._known.newest
        share = uplink_share(
            limits.uplink.download_bytes_per_s, self._pace.sharers(self._alive(), now)
        )
        rates = rates_in_force(limits.of_host(self._me), self._down, self._up, share)
        self._tell_change(rates)
        self._rates = msgspec.structs.replace(
            rates,
            missing=self._signals.missing if self._signals is not None else (),
            limits_seq=limits.limits_seq,
        )
        self._share_uplink(rates.download_bytes_per_s, share, dealt_bytes_per_s, now)
        of_peers = peer_rate(
            rates.download_bytes_per_s, dealt_bytes_per_s, deals_wait=self._pace.is_waiting(now)
        )
        if (of_peers, rates.upload_bytes_per_s) != self._applied:
            self._applied = (of_peers, rates.upload_bytes_per_s)
            self._peers.limit_rates(*self._applied)

    def _share_uplink(
        self, download: int | None, share: int | None, dealt_bytes_per_s: int, now: float
    ) -> None:
        """Share what may enter the cell between deals and hosts of other cells, if there are."""
        of_far = None
        of_deals = share
        if share is not None and self._peers.reaches_far:
            waits = self._pace.is_waiting(now)
            of_far = peer_rate(share, dealt_bytes_per_s, deals_wait=waits)
            of_deals = max(share // 2, 1)
        self._pace.allow(download, of_deals, now)
        if of_far != self._applied_far:
            self._applied_far = of_far
            self._peers.limit_far(of_far)

    def _tell_change(self, rates: RatesInForce) -> None:
        """Log when another reason holds; the rates themselves change every second."""
        before = self._rates
        reasons = (rates.download_reason, rates.upload_reason)
        if reasons != (before.download_reason, before.upload_reason):
            _log.info(
                "rates",
                download=rates.download_bytes_per_s,
                download_reason=rates.download_reason,
                upload=rates.upload_bytes_per_s,
                upload_reason=rates.upload_reason,
                pressure=round(rates.pressure, 2),
            )
