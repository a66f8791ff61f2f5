"""Orders that stand while keys come and go: sealed anew, forgotten when nobody believes them."""

from __future__ import annotations

from functools import partial

import msgspec
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
    Verify,
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
    delete_orders,
    open_rollouts,
    replace_envelopes,
    stored_orders,
)
from p2ptracker.threads import Threads

__all__ = ["Leaving", "StandingOrders"]

_IDS_SHOWN = 3  # a refusal is one line


class Leaving(msgspec.Struct, frozen=True):
    """What the keys that remain do not believe: *kept* of it is sealed anew, the rest forgotten.

    *judge* opens what they do believe: signatures may arrive until it is stored.
    """

    gone: list[StoredOrder]
    kept: list[SealedAnew]
    judge: Verify

    def store(self, connection: sa.Connection) -> None:
        """Have the database say so."""
        names = {(each.row.cell, each.row.key) for each in self.kept}
        replace_envelopes(connection, [each.row for each in self.kept])
        gone = self._still_gone(stored_orders(connection))
        delete_orders(connection, [row for row in gone if (row.cell, row.key) not in names])

    def _still_gone(self, stored: list[StoredOrder]) -> list[StoredOrder]:
        """Those of *gone* as they are by now, without what enough people have signed since."""
        looked_at = {(row.cell, row.key, row.version): row.envelope for row in self.gone}
        now = [row for row in stored if (row.cell, row.key, row.version) in looked_at]
        changed = [r for r in now if r.envelope != looked_at[r.cell, r.key, r.version]]
        believed = [row for row in changed if row not in refused(changed, self.judge)]
        return [row for row in now if row not in believed]


class StandingOrders:
    """Orders in *database* and in *cells*, of one *fleet*."""

    def __init__(self, fleet: str, database: Database, cells: Cells) -> None:
        self._fleet, self._database, self._cells = fleet, database, cells
        self._verifying = Threads(1)

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
            anew = await self._verifying.run(sealed_anew, stored, role, key, self._cells.verify)
        rows = [each.row for each in anew]

        def work(connection: sa.Connection) -> None:
            replace_envelopes(connection, rows)
            if also is not None:
                save_rotation(connection, role, encode(also))

        await self._database.write(work)
        replace_in_cells(self._cells, anew)

    async def leaving(
        self, said: OrderRoles, abort_key: SigningKey, *, abandon_standing: bool
    ) -> Leaving:
        """What will be refused by the keys of *said*; the caller stores it with them.

        Raises:
            RefusedError: a rollout that is under way is among it, or one that stands and that
                nobody said to abandon.
        """
        judge = self._judge(said)
        gone = await self._nobody_believes(judge)
        if not abandon_standing:
            self._refuse_unsigned(gone)
        return Leaving(gone, kept_aborts(gone, abort_key, self._cells.verify), judge)

    def _judge(self, said: OrderRoles) -> Verify:
        return partial(open_envelope, verifier=FleetVerifier(OrderKeys(self._fleet, said)))

    async def _nobody_believes(self, judge: Verify) -> list[StoredOrder]:
        stored = await self._database.read(stored_orders)
        gone = await self._verifying.run(refused, stored, judge)
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
        judge = self._judge(said)
        stored = await self._database.read(stored_orders)

        def look() -> tuple[RolloutId, ...]:
            return self._rollouts_in(refused(stored, judge))

        return await self._verifying.run(look)

    def _refuse_unsigned(self, gone: list[StoredOrder]) -> None:
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

    async def forget_refused(self, role: str, kept: list[SealedAnew]) -> None:
        """Take out of the cells what no longer verifies since *role* has other keys.

        *kept* takes its place where it is the same order.
        """
        replace_in_cells(self._cells, kept)
        for replica in self._cells.all():
            replica.drop_unverified(attestations=role == "enrol")
            await trio.lowlevel.checkpoint()  # the verifications of one cell at a time

    def _opened(self, row: StoredOrder) -> object:
        try:
            return self._cells.verify(row.envelope)
        except P2PDeployError:
            return None
