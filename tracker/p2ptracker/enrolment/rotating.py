"""Give a cell other gossip keys, in steps that lose no member (:mod:`p2pdeploy.trust.cell_keys`).

A host that is revoked has the keys it had; it is never told the next ones.  That a cell must get
another key is stored with the revocation, and what is under way is read from the ring itself: a
control plane that restarts goes on with both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import structlog
import trio
from prometheus_client import Counter

from p2pdeploy.errors import P2PDeployError, UnavailableError
from p2pdeploy.ids import CellId
from p2pdeploy.trust.cell_keys import (
    CELL_KEY_BYTES,
    EPOCHS_MAX,
    ROTATION_STEP_WAIT_S,
    CellKeys,
    add_epoch,
    drop_old_epochs,
    send_with_newest,
)
from p2ptracker.authority.cell_rings import replace_ring, ring_of
from p2ptracker.authority.folder import TrustFolder
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.rings_to_rotate import note_new_key, wanted_keys
from p2ptracker.threads import Threads

__all__ = ["KeptRings", "RingRotator", "Rings", "next_ring"]

LOOK_EVERY_S = 5.0  # of steps that are three minutes apart

log = structlog.get_logger(__name__)


def next_ring(ring: CellKeys) -> CellKeys | None:
    """The next step of the rotation that *ring* is in; None when it is in none."""
    if ring.sending != ring.epochs[-1]:
        return send_with_newest(ring)
    return drop_old_epochs(ring) if len(ring.epochs) > 1 else None


class Rings(Protocol):
    """Where the rings of cells are kept, and which cells must get another key."""

    async def read(self, cell: CellId) -> CellKeys: ...
    async def write(self, ring: CellKeys) -> None: ...
    async def wanted(self) -> Mapping[CellId, int]: ...
    async def note_new_key(self, cell: CellId, revocations: int) -> None: ...


class KeptRings:
    """The rings in the trust folder; what is wanted in *database*."""

    def __init__(self, trust: TrustFolder, database: Database) -> None:
        self._trust, self._database = trust, database
        self._files = Threads(1)

    async def read(self, cell: CellId) -> CellKeys:
        return await self._files.run(ring_of, self._trust, cell)

    async def write(self, ring: CellKeys) -> None:
        await self._files.run(replace_ring, self._trust, ring)

    async def wanted(self) -> Mapping[CellId, int]:
        return await self._database.read(wanted_keys)

    async def note_new_key(self, cell: CellId, revocations: int) -> None:
        await self._database.write(partial(note_new_key, cell=cell, revocations=revocations))


class RingRotator:
    """Rotates the keys of cells.  ``open`` it before anything is revoked.

    Args:
        rings: Where they are kept.
        cells: The cells there are.
        failures: Counts steps that could not be made when it was time.
    """

    def __init__(
        self, rings: Rings, cells: Callable[[], Iterable[CellId]], failures: Counter
    ) -> None:
        self._rings, self._cells, self._failures = rings, cells, failures
        self._due: dict[CellId, float] = {}  # trio's clock
        self._lock = trio.Lock()

    def __repr__(self) -> str:
        return f"<RingRotator: {len(self._due)} under way>"

    async def open(self) -> None:
        """Go on where the last process stopped; each step that was waited for waits anew.

        Raises:
            ConfigError: a ring is damaged.
            UnavailableError: the first ring of a cell can't be written.
        """
        for cell in self._cells():
            try:
                ring = await self._rings.read(cell)
            except OSError as error:
                raise UnavailableError(f"no gossip keys: {error}", where=cell) from error
            if next_ring(ring) is not None:
                self._wait(cell)

    async def begin_wanted(self) -> None:
        """Make the keys that revocations ask for; one that is under way takes the new key along.

        What can't be done now stays wanted: :meth:`rotate_rings` tries again.
        """
        async with self._lock:
            with self._going_on():
                for cell, revocations in (await self._rings.wanted()).items():
                    with self._going_on(cell):
                        await self._begin(cell, revocations)

    async def rotate_rings(self) -> None:
        """Task: begin what is wanted, and make each step when it is time."""
        while True:
            await self.begin_wanted()
            for cell in [c for c, due in self._due.items() if due <= trio.current_time()]:
                with self._going_on(cell):
                    await self._step(cell)
            await trio.sleep(LOOK_EVERY_S)

    async def _begin(self, cell: CellId, revocations: int) -> None:
        if cell not in self._cells():
            return  # it left the inventory; should it come back, then
        ring = await self._rings.read(cell)
        if len(ring.keys) == EPOCHS_MAX:  # then when what is under way has ended
            self._due.setdefault(cell, trio.current_time() + ROTATION_STEP_WAIT_S)
            return
        await self._write(add_epoch(ring, os.urandom(CELL_KEY_BYTES)))
        # A kill before this line costs one rotation too many.
        await self._rings.note_new_key(cell, revocations)

    async def _step(self, cell: CellId) -> None:
        async with self._lock:
            following = next_ring(await self._rings.read(cell))
            if following is not None:
                await self._write(following)
                return
            del self._due[cell]
        log.info("gossip-keys-rotated", cell=cell)

    async def _write(self, ring: CellKeys) -> None:
        await self._rings.write(ring)
        self._wait(ring.cell)

    def _wait(self, cell: CellId) -> None:
        self._due[cell] = trio.current_time() + ROTATION_STEP_WAIT_S

    @contextmanager
    def _going_on(self, cell: str = "") -> Generator[None]:
        """What fails is done at a later look; one cell's ring must not hold up the others."""
        try:
            yield
        except (P2PDeployError, OSError) as error:
            self._failures.inc()
            log.error("gossip-keys-not-rotated", cell=cell, reason=str(error))
