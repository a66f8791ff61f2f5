"""The cells as the control plane knows them: one replica of each cell's state.

A delegate's sync and an order issued here go into the same replica.  What is new is stored:
orders issued here before anybody hears of them, everything that comes from a cell shortly after
(it is still in the cell if this process dies first).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import sqlalchemy as sa
import trio

from p2pdeploy.errors import NotFoundError, ProtocolError, RefusedError
from p2pdeploy.gossip.anti_entropy import admit, answer_exchange, answer_offer, open_item
from p2pdeploy.gossip.state import CellState, item_of
from p2pdeploy.ids import CellId, HostName, ServiceName
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.gossip import Item, Status
from p2pdeploy.messages.orders import Order
from p2pdeploy.messages.sync import (
    MemberView,
    SyncAnswer,
    SyncDiff,
    SyncExchange,
    SyncItems,
    SyncOffer,
    SyncRequest,
)
from p2pdeploy.topology import Host
from p2pdeploy.trust.envelope import ROLE_OF, HmacKeyring, Sealed, open_envelope, seal
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.observations import (
    Observation,
    save_observations,
    stored_observations,
)
from p2ptracker.storage.rollouts import StoredOrder, save_orders, stored_orders

__all__ = ["CellReplica", "Cells"]

# Delegates sync every second; three lost syncs and a pause of the event loop fit in between.
DELEGATE_SILENT_S = 6.0
STORE_EVERY_S = 0.5  # observations of a busy rollout become one transaction, not hundreds
SQL_INTEGER_MAX = 2**63 - 1

_BELIEVED_ALIVE = (Status.ALIVE, Status.SUSPECT)


class CellReplica:
    """One cell: its state, what that says decoded, and who its delegates see.

    Args:
        cell: Its name.
        hosts: Its part of the inventory.
        verify: Opens envelopes.
    """

    def __init__(
        self, cell: CellId, hosts: Sequence[Host], verify: Callable[[bytes], Sealed]
    ) -> None:
        self.cell = cell
        self.hosts = {host.name: host for host in hosts}
        self.state = CellState(cell)
        self.revision = 0
        self.refused_items = 0
        self._verify = verify
        self._messages: dict[str, Sealed] = {}
        self._evidence: dict[ServiceName, dict[HostName, Attestation]] = {}
        self._seen_at: dict[tuple[HostName, ServiceName], float] = {}
        self._views: dict[HostName, tuple[float, frozenset[HostName]]] = {}  # monotonic, alive
        self._unsaved: dict[str, tuple[Item, Sealed, float]] = {}
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<CellReplica {self.cell} {len(self.state)} items, {len(self._views)} delegates>"

    # -- what is known -----------------------------------------------------------------------

    @property
    def evidence(self) -> Mapping[ServiceName, Mapping[HostName, Attestation]]:
        """The newest attestation of every host for every service."""
        return self._evidence

    def seen_at(self, host: HostName, service: ServiceName) -> float:
        """When the newest attestation reached this control plane, in seconds since the epoch."""
        return self._seen_at[host, service]

    def order(self, key: str) -> Sealed | None:
        """The newest verified message under *key* (``p2pdeploy.gossip.state``)."""
        return self._messages.get(key)

    def alive(self, now: float) -> frozenset[HostName]:
        """Hosts that some delegate, heard lately, believes alive; *now* is trio's clock.

        Nobody when no delegate was heard: what cannot be seen is not alive.
        """
        fresh = [seen for at, seen in self._views.values() if now - at <= DELEGATE_SILENT_S]
        return frozenset().union(*fresh)

    def delegates(self, now: float) -> dict[HostName, float]:
        """Seconds since each delegate's last sync."""
        return {host: now - at for host, (at, _) in sorted(self._views.items())}

    def plan_seq_max(self, service: ServiceName) -> int:
        """The highest plan number that anything in this cell's state names."""
        keys = (f"{kind}/{service}" for kind in ("plan", "revert", "settled", "abort"))
        of_orders = [item.version[0] for key in keys if (item := self.state.get(key))]
        of_hosts = [word.plan_seq for word in self._evidence.get(service, {}).values()]
        return max((*of_orders, *of_hosts), default=0)

    async def wait_changed(self, revision: int) -> int:
        """Wait until something differs from *revision*; return the new revision."""
        while self.revision == revision:
            await self._changed.wait()
        return self.revision

    # -- what comes in -----------------------------------------------------------------------

    def sync(self, request: SyncRequest, *, now: float, wall_s: float) -> SyncAnswer:
        """Answer one post of a delegate (``p2pdeploy.messages.sync``).

        Raises:
            ProtocolError: it speaks for another cell.
            RefusedError: the host is not in this cell's inventory.
        """
        if request.cell != self.cell:
            raise ProtocolError(f"sync of {request.cell!r} sent to {self.cell!r}")
        if request.host not in self.hosts:
            raise RefusedError(f"{request.host!r} is not a host of {self.cell}", code="no-host")
        if isinstance(request, SyncOffer):
            self._see(request.host, request.members, now)
            return SyncDiff(cell=self.cell, diff=answer_offer(self.state, request.offer))
        return self._exchange(request, wall_s)

    def _exchange(self, request: SyncExchange, wall_s: float) -> SyncItems:
        admission = admit(self.state, request.exchange.items, self._verify)
        self.refused_items += admission.refused
        for item, message in admission.merged:
            self._take(item, message, wall_s)
            self._unsaved[item.key] = (item, message, wall_s)
        if admission.merged:
            self._notify()
        return SyncItems(cell=self.cell, items=answer_exchange(self.state, request.exchange))

    def _see(self, delegate: HostName, members: Iterable[MemberView], now: float) -> None:
        before = self.alive(now)
        seen = {member.name for member in members if member.status in _BELIEVED_ALIVE}
        self._views[delegate] = (now, frozenset({*(seen & self.hosts.keys()), delegate}))
        for silent in [h for h, (at, _) in self._views.items() if now - at > DELEGATE_SILENT_S]:
            del self._views[silent]
        if self.alive(now) != before:
            self._notify()

    def put(self, item: Item, message: Sealed, seen_at: float) -> None:
        """Merge an item that is stored already: an order issued here, or one from the database."""
        if self.state.merge(item):
            self._take(item, message, seen_at)
            self._notify()

    def restore(self, envelope: bytes, seen_at: float) -> None:
        """Put back what the database holds; raises what ``open_item`` does."""
        item, message = open_item(envelope, self.cell, self._verify)
        self.put(item, message, seen_at)

    def _take(self, item: Item, message: Sealed, seen_at: float) -> None:
        if isinstance(message, Attestation):
            self._evidence.setdefault(message.service, {})[message.host] = message
            self._seen_at[message.host, message.service] = seen_at
        else:
            self._messages[item.key] = message

    def _notify(self) -> None:
        self.revision += 1
        self._changed.set()
        self._changed = trio.Event()

    def take_unsaved(self) -> list[tuple[Item, Sealed, float]]:
        """What came from the cell and is not stored yet; the caller stores it."""
        unsaved, self._unsaved = list(self._unsaved.values()), {}
        return unsaved


class Cells:
    """All cells of the inventory, their orders and observations durable in *database*.

    Args:
        inventory: Every host of the fleet.
        database: Where orders and observations are kept.
        keyring: Verifies what comes in and seals what goes out.
    """

    def __init__(self, inventory: Sequence[Host], database: Database, keyring: HmacKeyring) -> None:
        self._database = database
        self._keyring = keyring
        by_cell: dict[CellId, list[Host]] = {}
        for host in inventory:
            by_cell.setdefault(host.cell, []).append(host)
        self._replicas = {
            cell: CellReplica(cell, hosts, self._verify) for cell, hosts in sorted(by_cell.items())
        }

    def __repr__(self) -> str:
        return f"<Cells {len(self._replicas)}>"

    def _verify(self, envelope: bytes) -> Sealed:
        return open_envelope(envelope, self._keyring)

    def all(self) -> Sequence[CellReplica]:
        """Every cell, in name order."""
        return tuple(self._replicas.values())

    def get(self, cell: CellId) -> CellReplica:
        """One cell; raises NotFoundError."""
        replica = self._replicas.get(cell)
        if replica is None:
            raise NotFoundError(f"the inventory has no cell {cell!r}", code="no-cell")
        return replica

    def is_host(self, cell: CellId, host: str) -> bool:
        """Whether the inventory has *host* in *cell*."""
        replica = self._replicas.get(cell)
        return replica is not None and host in replica.hosts

    async def load(self) -> None:
        """Fill the replicas from the database.  Cells no longer in the inventory stay stored."""
        orders = await self._database.read(stored_orders)
        observed = await self._database.read(stored_observations)
        for order in orders:
            if order.cell in self._replicas:
                self._replicas[order.cell].restore(order.envelope, 0.0)
        for seen in observed:
            if seen.cell in self._replicas:
                self._replicas[seen.cell].restore(seen.envelope, seen.seen_at)

    async def issue(self, cell: CellId, orders: Sequence[Order]) -> None:
        """Seal *orders* with the keys of their roles, store them, then let the cell have them.

        Idempotent: an order that is not newer than what is known changes nothing.
        """
        replica = self.get(cell)
        sealed: list[tuple[Item, Sealed]] = []
        for order in orders:
            assert isinstance(order, Sealed), "every order has a place in the envelope's union"
            envelope = seal(order, self._keyring.named(ROLE_OF[type(order)]))
            sealed.append((item_of(order, envelope), order))
        rows = [_order_row(cell, item) for item, _ in sealed]
        await self._database.write(lambda connection: save_orders(connection, rows))
        for item, order in sealed:
            replica.put(item, order, 0.0)

    async def store_what_cells_said(self) -> None:
        """Task: write what delegates brought, twice a second, in one transaction for all cells."""
        while True:
            await trio.sleep(STORE_EVERY_S)
            await self.store_unsaved()

    async def store_unsaved(self) -> None:
        """Write everything that came in since the last time."""
        orders: list[StoredOrder] = []
        observations: list[Observation] = []
        for replica in self._replicas.values():
            for item, message, seen_at in replica.take_unsaved():
                if max(item.version) > SQL_INTEGER_MAX:
                    continue  # no honest clock or counter gets there; kept in memory only
                if isinstance(message, Attestation):
                    observations.append(_observation(message, item, seen_at))
                else:
                    orders.append(_order_row(replica.cell, item))
        if not orders and not observations:
            return

        def work(connection: sa.Connection) -> None:
            save_orders(connection, orders)
            save_observations(connection, observations)

        await self._database.write(work)


def _order_row(cell: CellId, item: Item) -> StoredOrder:
    return StoredOrder(cell=cell, key=item.key, version=item.version, envelope=item.envelope)


def _observation(word: Attestation, item: Item, seen_at: float) -> Observation:
    return Observation(
        host=word.host,
        service=word.service,
        cell=word.cell,
        epoch=word.epoch,
        seq=word.seq,
        version=word.version,
        state=word.state,
        seen_at=seen_at,
        envelope=item.envelope,
    )
