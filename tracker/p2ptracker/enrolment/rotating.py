"""Give a cell other gossip keys, in steps that lose no member (:mod:`p2pdeploy.trust.cell_keys`).

A host that is revoked has the keys it had; it is never told the next ones.  What is under way is
read from the ring itself, so a control plane that restarts goes on with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog
import trio

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

__all__ = ["RingFiles", "RingRotator", "Rings", "next_ring"]

LOOK_EVERY_S = 5.0  # of steps that are three minutes apart

log = structlog.get_logger(__name__)


def next_ring(ring: CellKeys) -> CellKeys | None:
    """The next step of the rotation that *ring* is in; None when it is in none."""
    if ring.sending != ring.epochs[-1]:
        return send_with_newest(ring)
    return drop_old_epochs(ring) if len(ring.epochs) > 1 else None


class Rings(Protocol):
    """Where the rings of cells are kept."""

    async def read(self, cell: CellId) -> CellKeys: ...
    async def write(self, ring: CellKeys) -> None: ...


class RingFiles:
    """The rings in the trust folder."""

    def __init__(self, trust: TrustFolder) -> None:
        self._trust = trust
        self._files = trio.CapacityLimiter(1)

    async def read(self, cell: CellId) -> CellKeys:
        return await trio.to_thread.run_sync(ring_of, self._trust, cell, limiter=self._files)

    async def write(self, ring: CellKeys) -> None:
        await trio.to_thread.run_sync(replace_ring, self._trust, ring, limiter=self._files)


class RingRotator:
    """Rotates the keys of cells.

    Args:
        rings: Where they are kept.
        cells: The cells there are.
    """

    def __init__(self, rings: Rings, cells: Callable[[], Iterable[CellId]]) -> None:
        self._rings, self._cells = rings, cells
        self._due: dict[CellId, float] = {}  # trio's clock
        self._again: set[CellId] = set()
        self._lock = trio.Lock()

    def __repr__(self) -> str:
        return f"<RingRotator: {len(self._due)} under way>"

    async def begin(self, cell: CellId) -> None:
        """Start a rotation; one that is under way takes the new key along.

        Raises:
            ConfigError: the ring is damaged.
            OSError: it can't be written; nothing was changed.
        """
        async with self._lock:
            ring = await self._rings.read(cell)
            if len(ring.keys) == EPOCHS_MAX:
                self._again.add(cell)  # when this one has ended
                return
            await self._write(add_epoch(ring, os.urandom(CELL_KEY_BYTES)))

    async def rotate_rings(self) -> None:
        """Task: make each step when it is time."""
        for cell in self._cells():
            if next_ring(await self._rings.read(cell)) is not None:
                self._due[cell] = trio.current_time() + ROTATION_STEP_WAIT_S
        while True:
            for cell in [c for c, due in self._due.items() if due <= trio.current_time()]:
                try:
                    await self._step(cell)
                except OSError as error:
                    log.error("ring-not-written", cell=cell, reason=str(error))
            await trio.sleep(LOOK_EVERY_S)

    async def _step(self, cell: CellId) -> None:
        async with self._lock:
            following = next_ring(await self._rings.read(cell))
            if following is not None:
                await self._write(following)
                return
            del self._due[cell]
        log.info("gossip-keys-rotated", cell=cell)
        if cell in self._again:
            self._again.remove(cell)
            await self.begin(cell)

    async def _write(self, ring: CellKeys) -> None:
        await self._rings.write(ring)
        self._due[ring.cell] = trio.current_time() + ROTATION_STEP_WAIT_S
