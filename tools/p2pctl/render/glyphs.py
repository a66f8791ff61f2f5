"""The sign and colour of every state, one place for all views."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FAULT_DOMAIN_ORDER", "Look", "bar", "look", "styled"]


class Look(NamedTuple):
    """How a state is drawn."""

    glyph: str
    style: str


_LOOKS = {
    # services and hosts of a rollout, in the order of their progress
    "waiting": Look("○", "dim"),
    "absent": Look("○", "dim"),
    "stopped": Look("○", "dim"),
    "moved-on": Look("○", "dim"),
    "unchanged": Look("○", "dim"),
    "fetching": Look("◌", "cyan"),
    "disk-full": Look("■", "yellow"),
    "staged": Look("◌", "cyan"),
    "starting": Look("●", "yellow"),
    "baking": Look("●", "yellow"),
    "healthy": Look("✔", "green"),
    "failed": Look("✖", "red"),
    "rolling-back": Look("↩", "magenta"),
    "rolled-back": Look("↩", "magenta"),
    # releases on a host
    "active": Look("✔", "green"),
    "rollback": Look("↩", "green"),
    "unused": Look("○", "dim"),
    "unknown": Look("?", "dim"),
    # rollouts
    "unsigned": Look("✎", "yellow"),
    "planned": Look("○", "dim"),
    "running": Look("◌", "cyan"),
    "paused": Look("‖", "yellow"),
    "complete": Look("✔", "green"),
    "aborted": Look("✖", "red"),
    # hosts
    "alive": Look("✔", "green"),
    "down": Look("✖", "red"),
}
_UNKNOWN = Look("?", "red")

# Counts are told from the end of the way to its start.
FAULT_DOMAIN_ORDER = (
    "healthy",
    "baking",
    "starting",
    "staged",
    "fetching",
    "disk-full",
    "waiting",
    "absent",
    "rolling-back",
    "rolled-back",
    "failed",
    "stopped",
    "unchanged",
    "moved-on",
)

_BAR_CELLS = 12  # a fault domain of 12 hosts moves cell by cell; larger ones need no more


def look(state: str) -> Look:
    """The look of *state*; one of a newer control plane is drawn as ``?``."""
    return _LOOKS.get(state, _UNKNOWN)


def styled(state: str, text: str = "") -> str:
    """*state* with its glyph as rich markup; *text* stands for the name when given."""
    glyph, style = look(state)
    return f"[{style}]{glyph} {text or state}[/]"


def bar(done: int, failed: int, total: int) -> str:
    """A bar of *done* and *failed* hosts out of *total* as rich markup.

    A share that is not zero shows at least one cell, and the bar is full only when all is done.
    """
    good = _cells(done, total)
    bad = min(_cells(failed, total), _BAR_CELLS - good)
    return f"[green]{'█' * good}[/][red]{'█' * bad}[/][dim]{'░' * (_BAR_CELLS - good - bad)}[/]"


def _cells(part: int, total: int) -> int:
    if part <= 0 or total <= 0:
        return 0
    if part >= total:
        return _BAR_CELLS
    return min(max(1, part * _BAR_CELLS // total), _BAR_CELLS - 1)
