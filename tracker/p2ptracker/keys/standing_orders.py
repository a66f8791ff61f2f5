"""Orders that stand while keys come and go: sealed anew, forgotten when nobody believes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import sqlalchemy as sa
import trio

from p2pdeploy.codec import encode
from p2pdeploy.errors import P2PDeployError, RefusedError
from p2pdeploy.ids import CellId, RolloutId
from p2pdeploy.messages.orders import Rollout
from p2pdeploy.trust.envelope import open_envelope
from p2pdeploy.trust.keyring import FleetVerifier, OrderKeys
from p2pdeploy.trust.role_keys import OrderRoles
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.cells.replicas import Cells
from p2ptracker.cells.sealing_anew import (
    SealedAnew,
    kept_aborts,
    refused,
    replace_in_cells,
    sealed_anew,
)
from p2ptracker.cells.standing_rollouts import standing_rollouts
from p2ptracker.keys.rotation import Rotation
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.key_rotations import save_rotation
from p2ptracker.storage.rollouts import (
    StoredOrder,
    open_rollouts,
    replace_envelopes,
    stored_orders,
)

__all__ = ["StandingOrders"]

_IDS_SHOWN = 3  # a refusal is one line

T = TypeVar("T")


class StandingOrders:
    """Orders in *database* and in *cells*, of one *fleet*."""

    def __init__(self, fleet: str, database: Database, cells: Cells) -> None:
        self._fleet, self._database, self._cells = fleet, database, cells
        self._verifying = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<StandingOrders of {self._fleet}>"

    async def seal_anew(
        self, role: str, key: SigningKey | None, *, also: Rotation | None = None
    ) -> None:
        """Seal with *key* what was issued in *role*, and store *also* with it.  Twice is once.

        Without a key, which is people's then, everything stays as they signed it.
        """
        anew: list[SealedAnew] = []
        if key is not None:
            stored = await self._database.read(stored_orders)
            anew = await self._hop(partial(sealed_anew, stored, role, key, self._cells.verify))
        rows = [each.row for each in anew]

        def work(connection: sa.Connection) -> None:
            replace_envelopes(connection, rows)
            if also is not None:
                save_rotation(connection, role, encode(also))

        await self._database.write(work)
        replace_in_cells(self._cells, anew)

    async def nobody_believes(self, said: OrderRoles) -> list[StoredOrder]:
        """What will be refused by the keys of *said*.

        Raises:
            RefusedError: a rollout that is under way is among it.
        """
        judge = FleetVerifier(OrderKeys(self._fleet, said))
        stored = await self._database.read(stored_orders)
        gone = await self._hop(partial(refused, stored, partial(open_envelope, verifier=judge)))
        running = {row.id for row in await self._database.read(open_rollouts)}
        for row in gone:
            order = self._opened(row)
            if isinstance(order, Rollout) and order.rollout_id in running:
                raise RefusedError(
                    f"{order.rollout_id} was approved with keys that leave",
                    hint=f"wait for it, have 'p2pctl rollout sign {order.rollout_id}' approve it "
                    f"with the others, or 'p2pctl rollout abort {order.rollout_id}'",
                    code="rollout-under-way",
                )
        return gone

    async def lacking(self, said: OrderRoles) -> tuple[RolloutId, ...]:
        """The rollouts that stand, by id, and whose ROLLOUT the keys of *said* have not signed."""
        judge = FleetVerifier(OrderKeys(self._fleet, said))
        stored = await self._database.read(stored_orders)

        def look() -> tuple[RolloutId, ...]:
            return self._rollouts_in(refused(stored, partial(open_envelope, verifier=judge)))

        return await self._hop(look)

    def refuse_unsigned(self, gone: list[StoredOrder]) -> None:
        """Raise RefusedError if the ROLLOUT of a rollout that stands is among *gone*."""
        standing = self._rollouts_in(gone)
        if standing:
            more = f" and {len(standing) - _IDS_SHOWN} more" if len(standing) > _IDS_SHOWN else ""
            raise RefusedError(
                f"{', '.join(standing[:_IDS_SHOWN])}{more}: what stands lacks signatures of those "
                "who take over",
                hint="each of them runs 'p2pctl rollout sign --standing --key FILE'",
                code="standing-unsigned",
            )

    def _rollouts_in(self, gone: list[StoredOrder]) -> tuple[RolloutId, ...]:
        """The rollouts that stand, by id, and whose ROLLOUT is among *gone*."""
        cells = frozenset[CellId](replica.cell for replica in self._cells.all())
        standing = standing_rollouts(gone, cells, self._cells.verify)
        return tuple(sorted({each.rollout.rollout_id for each in standing}))

    def kept_aborts(self, gone: list[StoredOrder], key: SigningKey) -> list[SealedAnew]:
        """What is kept of *gone*, sealed with the ``abort`` *key*; the caller stores the rows."""
        return kept_aborts(gone, key, self._cells.verify)

    async def forget_refused(self, role: str, kept: list[SealedAnew]) -> None:
        """Take out of the cells what no longer verifies since *role* has other keys.

        *kept* takes its place where it is the same order.
        """
        replace_in_cells(self._cells, kept)
        for replica in self._cells.all():
            replica.drop_unverified(attestations=role == "enrol")
            await trio.lowlevel.checkpoint()  # the verifications of one cell at a time

    async def _hop(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._verifying)

    def _opened(self, row: StoredOrder) -> object:
        try:
            return self._cells.verify(row.envelope)
        except P2PDeployError:
            return None
