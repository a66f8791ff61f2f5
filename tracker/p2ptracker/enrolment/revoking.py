"""Taking back what was given, and telling every cell of it.

Here it holds at once: the API, dealing and the upload server ask :class:`Standing` each time.
The cells hear of it as an item of their state, and from the answer to what each host asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import sqlalchemy as sa
import structlog
import trio

from p2pdeploy.errors import P2PDeployError
from p2pdeploy.gossip.state import REVOCATIONS_KEY, item_of
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.limits import ENROLMENT_FOLLOWED_MAX, NUMBER_FOLLOWED_MAX
from p2pdeploy.messages.enrolment import CellTrust
from p2pdeploy.trust.envelope import seal
from p2pdeploy.trust.revocations import REFUSED_SERIALS_MAX, Revocations
from p2ptracker.authority.cell_rings import ring_of
from p2ptracker.authority.folder import TrustFolder
from p2ptracker.cells.replicas import Cells
from p2ptracker.cells.sealed_orders import SealedOrders
from p2ptracker.enrolment.inventory import Inventory
from p2ptracker.enrolment.rotating import RingRotator
from p2ptracker.enrolment.standing import REFUSED_FOR_S, Standing
from p2ptracker.storage.enrolment import Enrolment, revoke_host, take_back
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.rings_to_rotate import want_new_keys

__all__ = ["Revoker", "forgotten"]

# A thousand hosts that enrol within seconds are some words to a cell, not a thousand.
TELL_EVERY_S = 2.0

log = structlog.get_logger(__name__)


class Revoker:
    """Revokes, and keeps the cells informed.

    Args:
        trust: Seals what is said, with the ``enrol`` key.
        inventory: Where hosts are.
        standing: Who is believed; is told of changes.
        database: Keeps them.
        cells: Hear of them.
        rotator: Gives the cell other gossip keys.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        trust: TrustFolder,
        inventory: Inventory,
        standing: Standing,
        database: Database,
        cells: Cells,
        rotator: RingRotator,
        clock: Callable[[], float],
    ) -> None:
        self._trust, self._inventory, self._standing = trust, inventory, standing
        self._database, self._cells, self._clock = database, cells, clock
        self._rotator = rotator
        self._said: dict[CellId, tuple[Revocations, bytes]] = {}

    def __repr__(self) -> str:
        return f"<Revoker of {self._trust.fleet}>"

    async def revoke_host(self, name: str, reason: str) -> Enrolment:
        """Believe *name* no more until it is enrolled anew; stored and in force on return.

        Raises:
            NotFoundError: the inventory has no such host.
            UnavailableError: the database can't be written; nothing changed.
        """
        host = self._inventory.get(name)

        def work(connection: sa.Connection) -> Enrolment:
            want_new_keys(connection, [host.cell])
            return revoke_host(
                connection,
                host.name,
                enrolment_before=host.enrolment,
                reason=reason,
                now=self._clock(),
            )

        known = await self._database.write(work)
        self._standing.put(known)
        log.warning("host-revoked", host=host.name, reason=reason)
        self._tell(host.cell)
        await self._rotator.begin_wanted()
        return known

    def tell_anew(self) -> None:
        """Another key seals what is said from now on: every cell gets its word sealed with it."""
        self._said.clear()
        for cell in self._cells.all():
            word, envelope = self._word(cell.cell)
            cell.replace(item_of(word, envelope), word)

    async def tell_cells(self) -> None:
        """Task: let each cell have what has changed for it, and take what only the cell knows."""
        while True:
            for cell in self._cells.all():
                try:
                    await self._learn_back(cell.cell)
                except P2PDeployError as error:  # the other cells are to hear theirs
                    log.warning("not-learnt-back", cell=cell.cell, reason=str(error))
                self._tell(cell.cell)
            await trio.sleep(TELL_EVERY_S)

    async def _learn_back(self, cell: CellId) -> None:
        """Take what *cell* holds and our database forgot, which was restored from a backup.

        Raises:
            UnavailableError: it can't be stored; nothing was taken.
        """
        held = self._held_by(cell)
        now = self._clock()
        known, lost = forgotten(held, self._standing, now=now) if held else ([], [])
        if not known and not lost:
            return
        is_one_out = any(each.is_revoked for each in known)

        def work(connection: sa.Connection) -> Sequence[str]:
            if is_one_out:  # the backup may be older than the keys that it never had
                want_new_keys(connection, [cell])
            since = now - REFUSED_FOR_S
            return take_back(connection, known, lost, told_since=since, now=now)

        serials = await self._database.write(work)
        for each in known:
            self._standing.put(each)
            self._inventory.set_enrolment(each.host, each.enrolment)
        for serial in serials:
            self._standing.refuse_serial(serial, now)
        log.warning(
            "learnt-back", cell=cell, hosts=[each.host for each in known], serials=len(serials)
        )

    def _held_by(self, cell: CellId) -> Revocations | None:
        """The newest word that *cell* holds; ours, whoever brought it.

        None also when its number leaves none to count on from: a thief's, whose key is rotated.
        """
        held = self._cells.get(cell).order(REVOCATIONS_KEY)
        if not isinstance(held, Revocations) or held.seq > NUMBER_FOLLOWED_MAX:
            return None
        return held if (held.fleet, held.cell) == (self._trust.fleet, cell) else None

    def _tell(self, cell: CellId) -> None:
        """Nothing is stored: it is made anew, byte for byte, from the enrolments."""
        before = self._said.get(cell)
        word, envelope = self._word(cell)
        if before is None or before[1] != envelope:
            self._cells.issue(SealedOrders(cell, ((item_of(word, envelope), word),)))

    def _word(self, cell: CellId) -> tuple[Revocations, bytes]:
        """What holds for *cell* now, sealed; the one before while nothing changed for it."""
        serials = self._standing.serials_to_tell(self._clock())
        word = _revocations(self._trust.fleet, cell, self.hosts_of(cell), self._standing, serials)
        said, held = self._said.get(cell), self._held_by(cell)
        held_seq = held.seq if held is not None else -1
        if said is not None and not _changed(said[0], word) and held_seq <= said[0].seq:
            return said
        if held is not None and held_seq >= word.seq:  # as a database before ours counted
            if _changed(held, word):
                self._standing.outdo(held_seq)
                held_seq = self._standing.seq
            word = msgspec.structs.replace(word, seq=held_seq)
        said = self._said[cell] = (word, seal(word, self._trust.keys["enrol"]))
        return said

    def hosts_of(self, cell: CellId) -> dict[HostName, str]:
        """The hosts of *cell* and their addresses.  Raises NotFoundError."""
        hosts = self._cells.get(cell).hosts.values()
        return {host.name: host.address for host in hosts}

    async def cell_trust(self, cell: CellId) -> CellTrust:
        """What a host of *cell* asks for once a minute.  Raises NotFoundError."""
        _, envelope = self._word(cell)
        return CellTrust(
            revocations=envelope,
            cell_keys=await trio.to_thread.run_sync(ring_of, self._trust, cell),
        )


def forgotten(
    held: Revocations, standing: Standing, *, now: float
) -> tuple[list[Enrolment], list[str]]:
    """What *held* says and *standing* doesn't know: hosts, and serial numbers that are refused.

    No more of these than hosts can be told of: one more, and no host would take the next word.
    """
    known: list[Enrolment] = []
    for host, floor in held.floors.items():
        if standing.floors.get(host, 0) < floor <= ENROLMENT_FOLLOWED_MAX:
            is_out = host in held.refused
            known.append(
                Enrolment(
                    host=host,
                    enrolment=floor - is_out,
                    floor=floor,
                    revoked_at=now if is_out else None,
                    reason="learnt from its cell" if is_out else "",
                )
            )
    room = max(0, REFUSED_SERIALS_MAX - len(standing.serials_to_tell(now)))
    return known, sorted(set(held.serials) - standing.serials)[:room]


def _revocations(
    fleet: str,
    cell: CellId,
    addresses: dict[HostName, str],
    standing: Standing,
    serials: tuple[str, ...],
) -> Revocations:
    known = {name: standing.enrolments[name] for name in addresses if name in standing.enrolments}
    return Revocations(
        fleet=fleet,
        cell=cell,
        seq=standing.seq,
        floors={name: each.floor for name, each in known.items()},
        refused={name: addresses[name] for name, each in known.items() if each.is_revoked},
        serials=serials,
    )


def _changed(before: Revocations, now: Revocations) -> bool:
    return (before.floors, before.refused, before.serials) != (
        now.floors,
        now.refused,
        now.serials,
    )
