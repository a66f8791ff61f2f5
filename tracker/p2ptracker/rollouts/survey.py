"""What a rollout is planned from: the release, the limits in force, and every cell as it is now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import CellId
from p2pdeploy.messages.api import ReleaseView, RolloutRequest
from p2pdeploy.messages.orders import Build
from p2pdeploy.planning.planner import CellFacts, Limits
from p2pdeploy.topology import Host
from p2ptracker.cells.replicas import Cells
from p2ptracker.rollouts.draft import facts_of, next_rollout_seq
from p2ptracker.rollouts.ledger import Ledger
from p2ptracker.rollouts.release import read_release
from p2ptracker.rollouts.store import RolloutStore
from p2ptracker.rollouts.targets import hosts_by_cell, limits_of, refuse_one_too_many
from p2ptracker.rollouts.view import CellSight
from p2ptracker.storage.interfaces import BlobStore, Database

__all__ = ["Survey", "Surveyor"]


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one moment; ``rollout_seq`` is free for a ROLLOUT of the service."""

    build: Build
    limits: Limits
    cells: Mapping[CellId, tuple[CellSight, CellFacts]]
    rollout_seq: int


class Surveyor:
    """Gathers what a request needs to be planned.

    Args:
        cells: What every cell says.
        inventory: Every host.
        database, store: Where releases are.
        rollouts: What was signed, or given up.
        ledger: What every cell is conducted as.
        is_signed: Whether hosts would accept a release.
        settle_s: How long a gate must stay open when a request does not say.
    """

    def __init__(
        self,
        cells: Cells,
        inventory: Sequence[Host],
        database: Database,
        store: BlobStore,
        rollouts: RolloutStore,
        ledger: Ledger,
        is_signed: Callable[[ReleaseView], bool],
        settle_s: float,
    ) -> None:
        self._cells, self._inventory, self._ledger = cells, inventory, ledger
        self._database, self._store, self._rollouts = database, store, rollouts
        self._is_signed, self._settle_s = is_signed, settle_s

    def __repr__(self) -> str:
        return f"<Surveyor of {len(self._inventory)} hosts>"

    def sees_any(self, request: RolloutRequest) -> bool:
        """Whether any target of *request* is alive, as far as delegates say.

        True also when the target means no host: then :meth:`survey` says what is wrong.
        """
        try:
            targets = hosts_by_cell(request, self._inventory)
        except RefusedError:
            return True
        return any(
            not self._ledger.sight(cell).alive.isdisjoint(host.name for host in hosts)
            for cell, hosts in targets.items()
        )

    async def survey(self, request: RolloutRequest) -> Survey:
        """What there is to plan *request* from.

        Raises:
            NotFoundError: the release was never published.
            RefusedError: hosts would refuse it, the target means no host, or a cell has no room.
        """
        build, spec = await read_release(self._database, self._store, request, self._is_signed)
        limits = limits_of(request, spec, settle_s=self._settle_s)
        cells: dict[CellId, tuple[CellSight, CellFacts]] = {}
        for cell, hosts in hosts_by_cell(request, self._inventory).items():
            replica, sight = self._cells.get(cell), self._ledger.sight(cell)
            refuse_one_too_many(request.service, replica.services(), cell)
            seen = replica.plan_seq_max(request.service)
            facts = facts_of(request, sight, hosts, size=len(replica.hosts), seq_seen=seen)
            cells[cell] = (sight, facts)
        signed = await self._rollouts.signed_seq_max(request.service)
        known = [replica.rollout_seq_max(request.service) for replica in self._cells.all()]
        seq = next_rollout_seq(request.service, self._ledger.conducted.values(), [signed, *known])
        return Survey(build=build, limits=limits, cells=cells, rollout_seq=seq)
