"""How many hosts of a cell draw pieces from the origin now: what they share an uplink by (pure)."""

from __future__ import annotations

from p2pdeploy.ids import CellId, HostName

__all__ = ["DrawingHosts"]

# Longer than a host that waits or keeps to a rate is silent (DealConfig.silent_s).
SILENT_S = 10.0
_SWEEP_EVERY_S = 1.0


class DrawingHosts:
    """Hosts by cell.  Bounded: the caller names hosts of the inventory only."""

    def __init__(self) -> None:
        self._heard: dict[CellId, dict[HostName, float]] = {}
        self._swept_at: dict[CellId, float] = {}

    def __repr__(self) -> str:
        return f"<DrawingHosts {sum(map(len, self._heard.values()))}>"

    def note(self, cell: CellId, host: HostName, now: float, *, draws: bool) -> int:
        """*host* asked, or says that it has everything.

        Args:
            cell: The host's.
            host: Whose request it is.
            now: Monotonic seconds.
            draws: Whether it lacks something.

        Returns:
            How many of *cell* draw now, over all releases.
        """
        heard = self._heard.setdefault(cell, {})
        if draws:
            heard[host] = now
        else:
            heard.pop(host, None)
        if now - self._swept_at.get(cell, float("-inf")) >= _SWEEP_EVERY_S:
            self._swept_at[cell] = now
            for silent in [name for name, at in heard.items() if now - at > SILENT_S]:
                del heard[silent]
        return len(heard)
