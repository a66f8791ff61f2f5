"""New hosts in a fleet that runs: first on disk, then everywhere at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog
import trio

from p2pdeploy.topology import Host
from p2pdeploy.trust.private_files import write_private
from p2ptracker.config import check_hosts
from p2ptracker.enrolment.inventory import Inventory

__all__ = ["FleetGrowth"]

log = structlog.get_logger(__name__)


class FleetGrowth:
    """Takes hosts into the inventory.

    Args:
        path: ``DIR/inventory.json``.
        inventory: What it holds.
        learn: Tells the rest of the control plane of one new host.
    """

    def __init__(self, path: Path, inventory: Inventory, learn: Callable[[Host], None]) -> None:
        self._path, self._inventory, self._learn = path, inventory, learn
        self._lock = trio.Lock()
        self._writers = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<FleetGrowth of {self._path}>"

    async def add(self, described: Sequence[Host]) -> list[Host]:
        """Take in those of *described* that are new; returns them.

        Raises:
            RefusedError: one is described otherwise than the inventory has it.
            ConfigError: one is no lawful host.  Either way none was taken in.
            OSError: the file can't be written; none was taken in.
        """
        async with self._lock:
            new = self._inventory.lacking(described)
            if not new:
                return []
            # A host enrolled before it was taken out goes on counting in the database.
            hosts = sorted([*self._inventory, *new], key=lambda host: host.name)
            check_hosts(hosts, where=str(self._path))
            text = msgspec.json.format(msgspec.json.encode(hosts))
            await trio.to_thread.run_sync(write_private, self._path, text, limiter=self._writers)
            for host in new:
                self._inventory.add(host)
                self._learn(host)
            log.info("hosts-added", hosts=[host.name for host in new])
            return new
