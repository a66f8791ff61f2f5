"""Orders that stand while keys come and go: sealed anew, forgotten when nobody believes them."""

from __future__ import annotations

from functools import partial

import sqlalchemy as sa

from p2pdeploy.codec import encode
from p2pdeploy.errors import P2PDeployError, RefusedError
from p2pdeploy.messages.orders import Rollout
from p2pdeploy.trust.envelope import open_envelope
from p2pdeploy.trust.keyring import FleetVerifier
from p2pdeploy.trust.releases.keys import OrderKeys
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.cells.replicas import Cells
from p2ptracker.cells.sealing_anew import refused, replace_in_cells, sealed_anew
from p2ptracker.keys.rotation import Rotation
from p2ptracker.releases.keeper import in_force
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.key_rotations import save_rotation
from p2ptracker.storage.rollouts import (
    StoredOrder,
    open_rollouts,
    replace_envelopes,
    stored_orders,
)

__all__ = ["StandingOrders"]


class StandingOrders:
    """Orders in *database* and in *cells*, of one *fleet*."""

    def __init__(self, fleet: str, database: Database, cells: Cells) -> None:
        self._fleet, self._database, self._cells = fleet, database, cells

    def __repr__(self) -> str:
        return f"<StandingOrders of {self._fleet}>"

    async def seal_anew(
        self, role: str, key: SigningKey | None, *, also: Rotation | None = None
    ) -> None:
        """Seal with *key* what was issued in *role*, and store *also* with it.  Twice is once.

        Without a key, which is people's then, everything stays as they signed it.
        """
        stored = await self._database.read(stored_orders) if key is not None else []
        anew = sealed_anew(stored, role, key, self._cells.verify) if key is not None else []
        rows = [each.row for each in anew]

        def work(connection: sa.Connection) -> None:
            replace_envelopes(connection, rows)
            if also is not None:
                save_rotation(connection, role, encode(also))

        await self._database.write(work)
        replace_in_cells(self._cells, anew)

    async def nobody_believes(self, said: OrderKeys) -> list[StoredOrder]:
        """What will be refused by the keys of *said*.

        Raises:
            RefusedError: a rollout that is under way is among it.
        """
        judge = FleetVerifier(in_force(self._fleet, said))
        stored = await self._database.read(stored_orders)
        gone = refused(stored, partial(open_envelope, verifier=judge))
        running = {row.id for row in await self._database.read(open_rollouts)}
        for row in gone:
            order = self._opened(row)
            if isinstance(order, Rollout) and order.rollout_id in running:
                raise RefusedError(
                    f"{order.rollout_id} was approved with keys that leave",
                    hint=f"wait for it, or 'p2pctl rollout abort {order.rollout_id}'",
                    code="rollout-under-way",
                )
        return gone

    def forget_refused(self) -> None:
        """Take out of the cells what no longer verifies."""
        for replica in self._cells.all():
            replica.drop_unverified()

    def _opened(self, row: StoredOrder) -> object:
        try:
            return self._cells.verify(row.envelope)
        except P2PDeployError:
            return None
