"""The cells as the control plane knows them: one replica of each cell's state.

A delegate's sync and an order issued here go into the same replica.  What is new is stored:
orders issued here before anybody hears of them, everything that comes from a cell shortly after
(it is still in the cell if this process dies first).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
import structlog
import trio

from p2pdeploy.errors import NotFoundError, ProtocolError, TrustError, UnavailableError
from p2pdeploy.gossip.state import attestation_key, item_of
from p2pdeploy.ids import CellId
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.gossip import Item
from p2pdeploy.messages.orders import Order, Rollout
from p2pdeploy.topology import Host
from p2pdeploy.trust.envelope import ROLE_OF, Sealed, open_envelope, seal
from p2pdeploy.trust.keyring import FleetVerifier
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.cells.replica import CellReplica
from p2ptracker.cells.sealed_orders import SealedOrders, observation_row, order_row
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.numbers import stored_numbers
from p2ptracker.storage.observations import (
    Observation,
    save_observations,
    stored_observations,
)
from p2ptracker.storage.rollouts import StoredOrder, save_orders, stored_orders

__all__ = ["Cells"]

STORE_EVERY_S = 0.5  # observations of a busy rollout become one transaction, not hundreds
SQL_INTEGER_MAX = 2**63 - 1

log = structlog.get_logger(__name__)


class Cells:
    """All cells of the inventory, their orders and observations durable in *database*.

    Args:
        inventory: Every host of the fleet.
        database: Where orders and observations are kept.
        keys: What goes out is sealed with the key of its role.
        verifier: Judges what comes in.
    """

    def __init__(
        self,
        inventory: Sequence[Host],
        database: Database,
        keys: Mapping[str, SigningKey],
        verifier: FleetVerifier,
    ) -> None:
        self._database = database
        self._keys = keys
        self._verifier = verifier
        by_cell: dict[CellId, list[Host]] = {}
        for host in inventory:
            by_cell.setdefault(host.cell, []).append(host)
        self._replicas = {
            cell: CellReplica(cell, hosts, self._verify) for cell, hosts in sorted(by_cell.items())
        }

    def __repr__(self) -> str:
        return f"<Cells {len(self._replicas)}>"

    def _verify(self, envelope: bytes) -> Sealed:
        return open_envelope(envelope, self._verifier)

    def all(self) -> Sequence[CellReplica]:
        """Every cell, in name order."""
        return tuple(self._replicas.values())

    def get(self, cell: CellId) -> CellReplica:
        """One cell; raises NotFoundError."""
        replica = self._replicas.get(cell)
        if replica is None:
            raise NotFoundError(f"the inventory has no cell {cell!r}", code="no-cell")
        return replica

    def learn(self, host: Host) -> None:
        """Take in a new host of the inventory; its cell may be new as well."""
        replica = self._replicas.get(host.cell)
        if replica is not None:
            replica.learn(host)
            return
        grown = {**self._replicas, host.cell: CellReplica(host.cell, [host], self._verify)}
        self._replicas = dict(sorted(grown.items()))

    def is_host(self, cell: CellId, host: str) -> bool:
        """Whether the inventory has *host* in *cell*."""
        replica = self._replicas.get(cell)
        return replica is not None and host in replica.hosts

    async def load(self) -> None:
        """Fill the replicas from the database.  Cells no longer in the inventory stay stored.

        What no longer verifies is left out: it was sealed with a key that was rotated since.  Its
        numbers stay.
        """
        for cell, number in await self._database.read(stored_numbers):
            if (replica := self._replicas.get(cell)) is not None:
                replica.count_from(number)
        orders = await self._database.read(stored_orders)
        observed = await self._database.read(stored_observations)
        for order in orders:
            self._restore(order.cell, order.key, order.envelope, 0.0)
        for seen in observed:
            what = attestation_key(seen.service, seen.host)
            self._restore(seen.cell, what, seen.envelope, seen.seen_at)

    def _restore(self, cell: CellId, key: str, envelope: bytes, seen_at: float) -> None:
        replica = self._replicas.get(cell)
        if replica is None:
            return
        try:
            replica.restore(envelope, seen_at)
        except (TrustError, ProtocolError) as error:
            log.warning("not-restored", cell=cell, key=key, reason=str(error))

    def verify(self, envelope: bytes) -> Sealed:
        """Open *envelope* by the keys of today; raises TrustError, ProtocolError."""
        return self._verify(envelope)

    def seal(self, cell: CellId, orders: Sequence[Order], *, rollout: bytes = b"") -> SealedOrders:
        """Seal *orders* for *cell* with the keys of their roles; nobody hears of them yet.

        A ROLLOUT among them goes out as *rollout* when that is given: as people signed it.
        """
        sealed: list[tuple[Item, Sealed]] = []
        for order in orders:
            assert isinstance(order, Sealed), "every order has a place in the envelope's union"
            if rollout and isinstance(order, Rollout):
                assert self._verify(rollout) == order, "people signed something else"
                envelope = rollout
            else:
                envelope = seal(order, self._keys[ROLE_OF[type(order)]])
            sealed.append((item_of(order, envelope), order))
        return SealedOrders(cell, tuple(sealed))

    def issue(self, sealed: SealedOrders) -> None:
        """Let the cell have orders whose rows the caller has stored.

        Idempotent.  An order that is not newer than what the cell holds reaches nobody; that is
        logged, because the cell then goes on without what was decided here.
        """
        replica = self.get(sealed.cell)
        for item, order in sealed.items:
            if not replica.put(item, order, 0.0):
                held = replica.state.get(item.key)
                log.error(
                    "order-not-taken",
                    cell=sealed.cell,
                    key=item.key,
                    version=item.version,
                    held=held.version if held else None,
                )

    async def store_what_cells_said(self) -> None:
        """Task: write what delegates brought, twice a second, in one transaction for all cells."""
        while True:
            await trio.sleep(STORE_EVERY_S)
            try:
                await self.store_unsaved()
            except UnavailableError as error:
                log.warning("store-failed", code=error.code, reason=str(error))

    async def store_unsaved(self) -> None:
        """Write everything that came in since the last time; kept when that fails."""
        taken = [(replica, replica.take_unsaved()) for replica in self._replicas.values()]
        try:
            await self._store(taken)
        except BaseException:  # also when this is cancelled while others write
            for replica, unsaved in taken:
                replica.put_back(unsaved)
            raise

    async def _store(
        self, taken: Sequence[tuple[CellReplica, list[tuple[Item, Sealed, float]]]]
    ) -> None:
        orders: list[StoredOrder] = []
        observations: list[Observation] = []
        for replica, unsaved in taken:
            for item, message, seen_at in unsaved:
                if max(item.version) > SQL_INTEGER_MAX:
                    continue  # no honest clock or counter gets there; kept in memory only
                if isinstance(message, Attestation):
                    observations.append(observation_row(message, item, seen_at))
                else:
                    numbers = replica.numbers_like(message)
                    orders.append(order_row(replica.cell, item, numbers, issued=False))
        if not orders and not observations:
            return

        def work(connection: sa.Connection) -> None:
            save_orders(connection, orders)
            save_observations(connection, observations)

        await self._database.write(work)
