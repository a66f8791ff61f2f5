"""The desk of prefetches: bytes are brought to hosts ahead of a rollout, and nothing starts.

Only releases that hosts would accept are asked for.  Nobody has to approve a prefetch, where people
approve rollouts neither: it opens no gate.  A rollout that waits for signatures is prefetched for
as long as it waits; with its PLAN its hosts keep the build by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog
import trio

from p2pdeploy.errors import NotFoundError, P2PDeployError
from p2pdeploy.ids import CellId, HostName, RolloutId, ServiceName
from p2pdeploy.messages.api import ReleaseView, RolloutRequest
from p2pdeploy.messages.orders import Build, Prefetch, Prefetched
from p2pdeploy.messages.prefetch import PrefetchRequest, PrefetchView
from p2pdeploy.topology import Host
from p2ptracker.cells.replica import CellReplica
from p2ptracker.cells.replicas import Cells
from p2ptracker.prefetching.asked import asking_for, can_be_followed, without
from p2ptracker.prefetching.view import prefetches_in, view_of
from p2ptracker.rollouts.release import read_release
from p2ptracker.rollouts.targets import hosts_by_cell, refuse_one_too_many
from p2ptracker.storage.interfaces import BlobStore, Database
from p2ptracker.storage.rollouts import save_orders

__all__ = ["PrefetchDesk"]

log = structlog.get_logger(__name__)

_Asked = tuple[CellReplica, Prefetch, Prefetched]


class PrefetchDesk:
    """What every cell prefetches.

    Args:
        cells: Orders go out through them, and evidence comes in.
        inventory: Every host.
        database, store: Where orders and releases are.
        is_signed: Whether hosts would accept a release.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        cells: Cells,
        inventory: Sequence[Host],
        database: Database,
        store: BlobStore,
        *,
        is_signed: Callable[[ReleaseView], bool],
        clock: Callable[[], float],
    ) -> None:
        self._cells, self._inventory = cells, inventory
        self._database, self._store = database, store
        self._is_signed, self._clock = is_signed, clock
        self._lock = trio.Lock()  # from the look at what a cell has to the issue of its next order

    def __repr__(self) -> str:
        return f"<PrefetchDesk {len(self._asked())} builds>"

    # -- what operators ask ------------------------------------------------------------------

    async def begin(self, request: PrefetchRequest) -> PrefetchView:
        """Bring a release to its target hosts; returns as soon as that is stored and issued.

        Raises:
            NotFoundError: the release was never published.
            RefusedError: hosts would refuse it, the target means no host, or a cell has no room.
        """
        asked = RolloutRequest(
            service=request.service,
            version=request.version,
            environment=request.environment,
            machine_function=request.machine_function,
            hosts=request.hosts,
        )
        build, _ = await read_release(self._database, self._store, asked, self._is_signed)
        async with self._lock:
            await self._ask(asked, build, self._clock() + request.keep_s)
        log.info("prefetch-accepted", service=request.service, version=request.version)
        return self.get(request.service, request.version)

    def list(self, service: str) -> Sequence[PrefetchView]:
        """Everything that is prefetched, of one service or of all (empty)."""
        by_build: dict[tuple[str, str, str], list[_Asked]] = {}
        for entry in self._asked(service):
            _, order, each = entry
            name = (order.service, each.build.version, each.build.digest)
            by_build.setdefault(name, []).append(entry)
        return [view_of(asked, with_hosts=False) for _, asked in sorted(by_build.items())]

    def get(self, service: ServiceName, version: str) -> PrefetchView:
        """One build and each of its hosts; raises NotFoundError."""
        asked = [e for e in self._asked(service) if e[2].build.version == version]
        if not asked:
            raise NotFoundError(
                f"{service} {version} is not prefetched",
                hint="p2pctl prefetch list",
                code="no-prefetch",
            )
        return view_of(asked, with_hosts=True)

    async def cancel(self, service: ServiceName, version: str) -> PrefetchView:
        """Let hosts collect a build; returns how far it was.

        Raises:
            NotFoundError: nobody asked for it.
            RefusedError: a thief of the key did, with a number that no order may follow.
        """
        async with self._lock:
            seen = self.get(service, version)
            await self._end(
                lambda order, each: (order.service, each.build.version) == (service, version)
            )
        log.info("prefetch-cancelled", service=service, version=version)
        return seen

    # -- what rollouts ask -------------------------------------------------------------------

    def versions_of(self, service: ServiceName) -> frozenset[str]:
        """The versions of *service* that are prefetched, and so must stay signed."""
        return frozenset(each.build.version for _, _, each in self._asked(service))

    async def bring_ahead(
        self, request: RolloutRequest, build: Build, rollout: RolloutId, until: float
    ) -> None:
        """Bring the build of a rollout that waits for signatures, until *until*.

        A cell without room for it leaves the rollout as it is: it fetches with its PLAN.
        """
        async with self._lock:
            try:
                await self._ask(request, build, until, rollout)
            except P2PDeployError as error:
                log.warning("not-prefetched", rollout=rollout, code=error.code, reason=str(error))

    async def end_of_all_but(self, waiting: Mapping[RolloutId, object]) -> None:
        """End what rollouts asked for that wait no more: they began, or came to nothing."""

        def is_over(order: Prefetch, each: Prefetched) -> bool:
            was_asked_for = each.rollout_id and each.rollout_id not in waiting
            return bool(was_asked_for) and can_be_followed(order)

        if any(is_over(order, each) for _, order, each in self._asked()):
            async with self._lock:
                await self._end(is_over)

    # -- orders ------------------------------------------------------------------------------

    def _asked(self, service: str = "") -> list[_Asked]:
        now = self._clock()
        return [
            (replica, order, each)
            for replica in self._cells.all()
            for order, each in prefetches_in(replica, now)
            if service in ("", order.service)
        ]

    async def _ask(
        self, request: RolloutRequest, build: Build, until: float, rollout: RolloutId | None = None
    ) -> None:
        orders = [
            self._next(self._cells.get(cell), request.service, build, hosts, until, rollout)
            for cell, hosts in hosts_by_cell(request, self._inventory).items()
        ]
        await self._issue([order for order in orders if order is not None])

    def _next(
        self,
        replica: CellReplica,
        service: ServiceName,
        build: Build,
        hosts: Sequence[Host],
        until: float,
        rollout: RolloutId | None,
    ) -> Prefetch | None:
        """None when a person asked for the same build: that is not cut short by a rollout."""
        now, held = self._clock(), replica.order(f"prefetch/{service}")
        refuse_one_too_many(service, replica.services(), replica.cell)
        mine = [each for order, each in prefetches_in(replica, now) if order.service == service]
        if rollout and any(e.build == build and not e.rollout_id for e in mine):
            return None
        others = sum(order.service != service for order, _ in prefetches_in(replica, now))
        is_whole_cell = len(hosts) == len(replica.hosts)
        names: tuple[HostName, ...] = () if is_whole_cell else tuple(host.name for host in hosts)
        wanted = Prefetched(
            build=build, not_after=until, hosts=names, rollout_id=rollout or RolloutId("")
        )
        last = held if isinstance(held, Prefetch) else None
        return asking_for(last, wanted, cell=replica.cell, service=service, others=others, now=now)

    async def _end(self, is_over: Callable[[Prefetch, Prefetched], bool]) -> None:
        now = self._clock()
        held: dict[tuple[CellId, ServiceName], Prefetch] = {
            (order.cell, order.service): order for _, order, _ in self._asked()
        }
        orders = [without(o, lambda each, o=o: is_over(o, each), now) for o in held.values()]
        await self._issue([order for order in orders if order is not None])

    async def _issue(self, orders: Iterable[Prefetch]) -> None:
        """Store all of them at once, then let the cells have them."""
        sealed = [self._cells.seal(order.cell, [order]) for order in orders]
        rows = [row for each in sealed for row in each.rows]
        if not rows:
            return
        await self._database.write(lambda connection: save_orders(connection, rows))
        for each in sealed:
            self._cells.issue(each)
