"""How the releases of rollouts spread: what the swarm's figures need of the ledger."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import structlog
import trio

from p2pdeploy.activation.gate import in_attempt
from p2pdeploy.errors import NotFoundError, UnavailableError
from p2pdeploy.ids import HostName, RolloutId
from p2pdeploy.messages.api import RolloutView
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.swarm import SpreadView
from p2pdeploy.planning.cell_rollout import CellRollout
from p2pdeploy.planning.conducted import latest
from p2ptracker.rollouts.ledger import Ledger
from p2ptracker.rollouts.view import CellSight, RolloutDocument
from p2ptracker.spreads.recorder import SpreadRecorder
from p2ptracker.spreads.terms import HostFacts, Spreading

__all__ = ["RolloutSpreads", "spreading_of"]

log = structlog.get_logger(__name__)

RECORD_EVERY_S = 1.0  # a curve's points are as far apart
PAUSE_FACTOR = 20  # of what a look took: figures of the largest fleets cost a twentieth of a core


class RolloutSpreads:
    """Records and shows how the releases of rollouts spread.

    Args:
        ledger: Which rollouts are under way.
        recorder: Keeps the figures.
    """

    def __init__(self, ledger: Ledger, recorder: SpreadRecorder) -> None:
        self._ledger, self._recorder = ledger, recorder

    async def record_spreads(self) -> None:
        """Task: record how releases spread, and who is behind, once a second."""
        while True:
            began_at = trio.current_time()
            try:
                await self.look()
            except UnavailableError as error:  # kept in memory, and stored the next time
                log.warning("spreads-not-stored", code=error.code, reason=str(error))
            took_s = trio.current_time() - began_at
            await trio.sleep(max(RECORD_EVERY_S, took_s * PAUSE_FACTOR))

    async def look(self) -> None:
        """Record once how the release of every rollout under way stands on its hosts."""
        under_way = dict(self._ledger.under_way)
        complete = {rollout for rollout in under_way if self._recorder.is_complete(rollout)}
        found = [
            spreading_of(document, [self._ledger.sight(cell) for cell in document.cells])
            for rollout, document in under_way.items()
            if rollout not in complete
        ]
        spreading = [one for one in found if one is not None]
        await self._recorder.look(spreading, complete)

    async def find(self, rollout: RolloutId) -> SpreadView:
        """The figures and the curve of one rollout; raises NotFoundError when there are none."""
        return await self._recorder.find(rollout)

    async def with_swarm(self, view: RolloutView) -> RolloutView:
        """*view* with the figures, if there are any."""
        try:
            swarm = self._recorder.view(view.id) or (await self._recorder.find(view.id)).swarm
        except NotFoundError:
            return view
        return msgspec.structs.replace(view, swarm=swarm)


def spreading_of(document: RolloutDocument, cells: Sequence[CellSight]) -> Spreading | None:
    """How the release of an open rollout stands on the hosts of its roster.  Pure.

    Args:
        document: Of the rollout; one that waits for signatures spreads nothing.
        cells: Its cells as they are seen now.

    Returns:
        None when nothing spreads under it any more, or yet.
    """
    view = document.view
    entries = [latest(cell.conducted, view.service) for cell in cells]
    ours = [
        (cell, entry.rollout)
        for cell, entry in zip(cells, entries, strict=True)
        if entry is not None and entry.rollout_id == view.id
    ]
    if document.approval is not None or not ours:
        return None
    hosts: dict[HostName, HostFacts] = {}
    for cell, rollout in ours:
        evidence = cell.view_of(view.service).evidence
        words = in_attempt(evidence, rollout.plan, rollout.attempt)
        for member in rollout.cell_plan.roster.members:
            word = words.get(member.host)
            hosts[member.host] = _facts(cell, rollout, member.host, word)
    return Spreading(
        rollout=view.id,
        service=view.service,
        version=view.version,
        digest=ours[0][1].plan.build.digest,
        created_at=view.created_at.timestamp(),
        hosts=hosts,
    )


def _facts(
    cell: CellSight, rollout: CellRollout, host: HostName, word: Attestation | None
) -> HostFacts:
    of_plan = word is not None and word.plan_seq == rollout.plan.plan_seq
    staged = word is not None and of_plan and Rank.STAGED <= word.rank <= Rank.HEALTHY
    waits = word is not None and of_plan and word.rank < Rank.STAGED
    return HostFacts(
        cell=rollout.plan.cell,
        staged=staged,
        alive=host in cell.alive,
        reason_code=word.reason_code if word is not None and waits else "",
    )
