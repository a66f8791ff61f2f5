"""One cell as its delegates tell of it: its state, decoded, and who is alive.

The control plane is one more replica of the cell (``docs/adr/0007``); what is durable of it is
the business of :mod:`p2ptracker.cells.replicas`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from p2pdeploy.errors import ProtocolError, RefusedError
from p2pdeploy.gossip.anti_entropy import (
    admit,
    answer_exchange,
    answer_offer,
    drop_unverified,
    open_item,
)
from p2pdeploy.gossip.state import RATE_LIMITS_KEY, CellState
from p2pdeploy.ids import CellId, HostName, ServiceName
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.gossip import Item, Status
from p2pdeploy.messages.rates import UNLIMITED, RateLimit, RateLimits
from p2pdeploy.messages.sync import (
    HELD_S_MAX,
    MemberView,
    SyncAnswer,
    SyncDiff,
    SyncExchange,
    SyncItems,
    SyncOffer,
    SyncRequest,
)
from p2pdeploy.topology import Host
from p2pdeploy.trust.envelope import Sealed
from p2ptracker.cells.news import News
from p2ptracker.cells.numbers import numbers_in, numbers_of
from p2ptracker.storage.order_number import NumberKind, OrderNumber

__all__ = ["CellReplica"]

# Delegates speak whenever their offer was held to the end; two lost syncs fit in between.
DELEGATE_SILENT_S = HELD_S_MAX + 4.0

# One host's word, by its own key: a plan each millisecond for nine thousand years.  So no host
# that lies brings us near the last number there is.
_CLAIMED_MAX = 2**48

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
        self.refused_items = 0
        self.news = News()
        self._verify = verify
        self._messages: dict[str, Sealed] = {}
        self._evidence: dict[ServiceName, dict[HostName, Attestation]] = {}
        self._seen_at: dict[tuple[HostName, ServiceName], float] = {}
        self._views: dict[HostName, tuple[float, frozenset[HostName]]] = {}  # monotonic, alive
        self._unsaved: dict[str, tuple[Item, Sealed, float]] = {}
        self._numbers: dict[tuple[NumberKind, ServiceName], int] = {}

    def __repr__(self) -> str:
        return f"<CellReplica {self.cell} {len(self.state)} items, {len(self._views)} delegates>"

    def learn(self, host: Host) -> None:
        """Take in a new host of the inventory, in name order."""
        hosts = [*self.hosts.values(), host]
        self.hosts = {each.name: each for each in sorted(hosts, key=lambda each: each.name)}

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

    def is_seen(self, now: float) -> bool:
        """Whether some delegate was heard lately."""
        return any(now - at <= DELEGATE_SILENT_S for at, _ in self._views.values())

    def plan_seq_max(self, service: ServiceName) -> int:
        """The highest plan number that an order ever named here, or a host of this cell does."""
        words = self._evidence.get(service, {}).values()
        of_hosts = [w.plan_seq for w in words if w.plan_seq <= _CLAIMED_MAX]
        return max(self._numbers.get(("plan", service), 0), *of_hosts, 0)

    def rollout_seq_max(self, service: ServiceName) -> int:
        """The highest number of a ROLLOUT that this cell was shown, or that was aborted there."""
        return self._numbers.get(("rollout", service), 0)

    def numbers_like(self, message: Sealed) -> tuple[OrderNumber, ...]:
        """How far the counts have come that *message* names, be it by another order.

        Two orders may come under one key before the first is stored, or one with a number too
        high to be followed.
        """
        return tuple(
            OrderNumber(each.kind, each.service, self._numbers.get((each.kind, each.service), 0))
            for each in numbers_in(message)
        )

    def services(self) -> frozenset[ServiceName]:
        """Every service that this cell was ever told of, or that a host of it attested."""
        of_orders = {key.partition("/")[2] for key in self._messages} - {""}  # the GO has none
        return frozenset({*map(ServiceName, of_orders), *self._evidence})

    def lease_seq_max(self) -> int:
        """The highest lease of a GO that this cell ever had; 0 when there was none."""
        return self._numbers.get(("lease", ServiceName("")), 0)

    def rate_limit_of(self, host: HostName) -> RateLimit:
        """What *host* alone may move, as the cell was told."""
        told = self.order(RATE_LIMITS_KEY)
        return told.of_host(host) if isinstance(told, RateLimits) else UNLIMITED

    def limits_seq_max(self) -> int:
        """The highest number of rate limits that this cell ever had; 0 when there were none."""
        return self._numbers.get(("limits", ServiceName("")), 0)

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
            return self.answer(request)
        return self._exchange(request, wall_s)

    def answer(self, offer: SyncOffer) -> SyncDiff:
        """What differs by now from what a delegate offered, which :meth:`sync` took."""
        diff = answer_offer(self.state, offer.offer)
        return SyncDiff(cell=self.cell, diff=diff, revision=self.news.revision)

    def _exchange(self, request: SyncExchange, wall_s: float) -> SyncItems:
        admission = admit(self.state, request.exchange.items, self._verify)
        self.refused_items += admission.refused
        for item, message in admission.merged:
            self._take(item, message, wall_s)
            self._unsaved[item.key] = (item, message, wall_s)
        return SyncItems(cell=self.cell, items=answer_exchange(self.state, request.exchange))

    def _see(self, delegate: HostName, members: Iterable[MemberView], now: float) -> None:
        seen = {member.name for member in members if member.status in _BELIEVED_ALIVE}
        self._views[delegate] = (now, frozenset({*(seen & self.hosts.keys()), delegate}))
        for silent in [h for h, (at, _) in self._views.items() if now - at > DELEGATE_SILENT_S]:
            del self._views[silent]

    def put(self, item: Item, message: Sealed, seen_at: float) -> bool:
        """Merge an item that is stored already: an order issued here, or one from the database.

        Returns:
            Whether the state holds it now; False when it holds something newer, or has no room.
        """
        if self.state.merge(item):
            self._take(item, message, seen_at)
            return True
        return self.state.get(item.key) == item

    def replace(self, item: Item, message: Sealed) -> None:
        """Hold *item* in the place of the one with its version, which another key sealed.

        What is newer stays.  The cell gets it as soon as it has dropped the other one.
        """
        held = self.state.get(item.key)
        if held is not None and held.version == item.version:
            self.state.drop(item.key)
            self.state.merge(item)
            self._take(item, message, 0.0)

    def drop_unverified(self, *, attestations: bool) -> list[str]:
        """Forget orders that no longer verify after keys were rotated; returns where they stood.

        What was read from them is known as before: only who asks for the item gets none.
        *attestations*: those as well.
        """
        return drop_unverified(self.state, self._verify, attestations=attestations)

    def restore(self, envelope: bytes, seen_at: float) -> None:
        """Put back what the database holds; raises what ``open_item`` does."""
        item, message = open_item(envelope, self.cell, self._verify)
        self.put(item, message, seen_at)

    def count_from(self, number: OrderNumber) -> None:
        """Remember how far hosts were taken, whatever becomes of the order that did it."""
        kind = (number.kind, number.service)
        self._numbers[kind] = max(self._numbers.get(kind, 0), number.number)

    def _take(self, item: Item, message: Sealed, seen_at: float) -> None:
        for number in numbers_of(message):
            self.count_from(number)
        if isinstance(message, Attestation):
            self._evidence.setdefault(message.service, {})[message.host] = message
            self._seen_at[message.host, message.service] = seen_at
            self.news.tell_word()
        else:
            self._messages[item.key] = message
            self.news.tell_order()

    def take_unsaved(self) -> list[tuple[Item, Sealed, float]]:
        """What came from the cell and is not stored yet; the caller stores it."""
        unsaved, self._unsaved = list(self._unsaved.values()), {}
        return unsaved

    def put_back(self, unsaved: Sequence[tuple[Item, Sealed, float]]) -> None:
        """What was taken could not be stored; what came meanwhile is newer and stays."""
        for entry in unsaved:
            self._unsaved.setdefault(entry[0].key, entry)
