"""Setting and clearing rate limits, and telling every cell of them.

A limit and the orders that follow from it are stored in one transaction, issued after.  A cell
that holds something else, because it is new, or a thief of the deployer key said it, is told again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa
import structlog
import trio

from p2pdeploy.errors import NotFoundError
from p2pdeploy.gossip.state import RATE_LIMITS_KEY
from p2pdeploy.ids import HostName
from p2pdeploy.limits import NUMBER_FOLLOWED_MAX
from p2pdeploy.messages.limits import LimitRequest, LimitTarget, LimitView
from p2pdeploy.messages.rates import RateLimits
from p2pdeploy.topology import Host
from p2ptracker.cells.replica import CellReplica
from p2ptracker.cells.replicas import Cells
from p2ptracker.cells.sealed_orders import SealedOrders
from p2ptracker.rates.rules import (
    LimitKey,
    Limits,
    key_of,
    limits_of_cell,
    limits_of_host,
    require_direction,
)
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.rate_limits import StoredLimit, delete_limit, save_limit, stored_limits
from p2ptracker.storage.rollouts import save_orders

__all__ = ["RateDesk"]

# A cell that is new, or that a thief told something, is put right within this; what people set
# goes out at once.
TELL_EVERY_S = 5.0

log = structlog.get_logger(__name__)


class RateDesk:
    """Keeps the limits, and the cells informed.

    Args:
        cells: Hear of them.
        database: Keeps them.
        clock: Seconds since the epoch.
    """

    def __init__(self, cells: Cells, database: Database, clock: Callable[[], float]) -> None:
        self._cells, self._database, self._clock = cells, database, clock
        self._limits: dict[LimitKey, StoredLimit] = {}
        self._lock = trio.Lock()  # numbers of orders: one change at a time

    def __repr__(self) -> str:
        return f"<RateDesk {len(self._limits)} limits>"

    async def open(self) -> None:
        """Learn what was set before the restart."""
        stored = await self._database.read(stored_limits)
        self._limits = {_key(limit): limit for limit in stored}

    # -- asked by people ---------------------------------------------------------------------

    def known(self) -> list[LimitView]:
        """All that are set."""
        return [_view(self._limits[key]) for key in sorted(self._limits)]

    def of_host(self, host: Host) -> list[LimitView]:
        """Those that concern *host*, of each kind first the one that counts."""
        return [_view(limit) for limit in limits_of_host(self._limits, host)]

    async def set(self, request: LimitRequest) -> LimitView:
        """Set a limit; its cells have it on return, and hosts within seconds.

        Raises:
            RefusedError: the target is unclear or unknown, or nothing limits that direction;
                nothing changed.
            UnavailableError: the database can't be written; nothing changed.
        """
        async with self._lock:
            key = key_of(request.target, self._hosts())
            require_direction(key, request)
            limit = StoredLimit(
                scope=key.scope,
                name=key.name,
                kind=key.kind,
                download_bytes_per_s=request.download_bytes_per_s,
                upload_bytes_per_s=request.upload_bytes_per_s,
                set_at=self._clock(),
            )
            await self._change({**self._limits, key: limit}, lambda c: save_limit(c, limit))
        return _view(limit)

    async def clear(self, target: LimitTarget) -> LimitView:
        """Take a limit back, and return it.

        Raises:
            RefusedError: the target is unclear or unknown.
            NotFoundError: none is set for it.
            UnavailableError: the database can't be written.  In every case nothing changed.
        """
        async with self._lock:
            key = key_of(target, self._hosts())
            limit = self._limits.get(key)
            if limit is None:
                raise NotFoundError(
                    f"no limit is set for {key.scope} {key.name} ({key.kind})",
                    hint="'p2pctl limits get' lists those that are",
                    code="no-limit",
                )
            rest = {other: kept for other, kept in self._limits.items() if other != key}
            await self._change(rest, lambda c: delete_limit(c, limit))
        return _view(limit)

    # -- telling the cells -------------------------------------------------------------------

    async def tell_rate_limits(self) -> None:
        """Task: put right what a cell holds otherwise; raises UnavailableError."""
        while True:
            async with self._lock:
                await self._tell(self._due(self._limits))
            await trio.sleep(TELL_EVERY_S)

    async def _change(
        self, limits: dict[LimitKey, StoredLimit], store: Callable[[sa.Connection], None]
    ) -> None:
        await self._tell(self._due(limits), store)
        self._limits = limits

    async def _tell(
        self, orders: Sequence[SealedOrders], *also: Callable[[sa.Connection], None]
    ) -> None:
        """Store *orders* and what *also* stores, then issue them."""
        rows = [row for sealed in orders for row in sealed.rows]

        def work(connection: sa.Connection) -> None:
            save_orders(connection, rows)
            for store in also:
                store(connection)

        if rows or also:
            await self._database.write(work)
        for sealed in orders:
            self._cells.issue(sealed)
            log.info("rate-limits-told", cell=sealed.cell, version=sealed.items[0][0].version[0])

    def _due(self, limits: Limits) -> list[SealedOrders]:
        """The orders of every cell that holds something else than *limits* say."""
        limited = {HostName(key.name) for key in limits if key.scope == "host"}
        told = ((cell, _told(cell, limits, limited)) for cell in self._cells.all())
        return [self._cells.seal(cell.cell, [order]) for cell, order in told if order is not None]

    def _hosts(self) -> list[Host]:
        return [host for cell in self._cells.all() for host in cell.hosts.values()]


def _told(cell: CellReplica, limits: Limits, limited: set[HostName]) -> RateLimits | None:
    """What *cell* is to be told; None when it holds that, or nothing where there is nothing."""
    first = next(iter(cell.hosts.values()))
    own = [cell.hosts[name] for name in limited & cell.hosts.keys()]
    wanted = limits_of_cell(limits, cell.cell, [*own, first])
    held = cell.order(RATE_LIMITS_KEY)
    if not isinstance(held, RateLimits):
        held = RateLimits(cell=cell.cell, limits_seq=0)
    if wanted == msgspec.structs.replace(held, limits_seq=0):
        return None
    if held.limits_seq > NUMBER_FOLLOWED_MAX:  # a thief's: only another key ends it
        log.error("rate-limits-not-told", cell=cell.cell, reason="rotate the deployer key")
        return None
    seq = max(held.limits_seq, cell.limits_seq_max()) + 1
    return msgspec.structs.replace(wanted, limits_seq=seq)


def _key(limit: StoredLimit) -> LimitKey:
    return LimitKey(limit.scope, limit.name, limit.kind)


def _view(limit: StoredLimit) -> LimitView:
    return LimitView(
        scope=limit.scope,
        name=limit.name,
        kind=limit.kind,
        download_bytes_per_s=limit.download_bytes_per_s,
        upload_bytes_per_s=limit.upload_bytes_per_s,
        set_at=datetime.fromtimestamp(round(limit.set_at), UTC),
    )
