"""What an approver is asked to sign, as people read it: every fact that stands in the bytes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from p2pctl.durations import show_duration
from p2pctl.render.listings import show_time
from p2pctl.render.tables import FactTable, plain_table
from p2pdeploy.messages.orders import Build, Rollout

__all__ = ["view_approval"]


_NO_ROOT = "not checked: DIR/ca/release-root.json is not here"


def view_approval(
    rollouts: Sequence[Rollout],
    *,
    release_checked: bool,
    now: datetime,
    approved_before: bool | None = None,
) -> RenderableType:
    """The common facts, a line per cell, and every host that is named.

    Args:
        rollouts: At least one; they differ in what is of one cell only.
        release_checked: Whether the publishers' signature on the build was verified here.
        now: Aware UTC time.
        approved_before: Of what stands already, whether that was verified here; else None.
    """
    parts: list[RenderableType] = [
        _facts(rollouts[0], release_checked, approved_before, now),
        Text(""),
        _cells(rollouts),
    ]
    for rollout in rollouts:
        parts += _names(rollout)
    return Group(*parts)


def _facts(
    rollout: Rollout, release_checked: bool, approved_before: bool | None, now: datetime
) -> Table:
    table = FactTable()
    checked = "yes" if release_checked else _NO_ROOT
    if approved_before and not release_checked:
        checked = "not any more: its version is no longer live"
    expires = datetime.fromtimestamp(rollout.expires_at, UTC)
    left_s = max(0.0, (expires - now).total_seconds())
    rows = [
        ("Rollout", rollout.rollout_id),
        ("Release", f"{rollout.service} {rollout.build.version}"),
        ("Its digest", rollout.build.digest),
        ("Signed by its publishers", checked),
        ("Failures allowed", f"{rollout.failure_fraction_max:g} of a fault domain"),
        ("Bake", f"at least {show_duration(rollout.bake_s)}"),
        ("Settle", f"at least {show_duration(rollout.settle_s)}"),
        ("Time for a host", f"at most {show_duration(rollout.activation_max_s)}"),
        ("Good until", f"{show_time(expires)}, {_left(left_s)}"),
    ]
    if approved_before is not None:
        known = "keys that count approved it" if approved_before else _NO_ROOT
        rows.insert(1, ("Stands already", f"{known}; approved anew, nothing starts because of it"))
    for name, value in rows:
        table.add_row(f"{name}:", Text(value))
    return table


def _left(left_s: float) -> str:
    return f"for {show_duration(left_s)}" if left_s else "it has expired: no plan starts by it"


def _cells(rollouts: Sequence[Rollout]) -> Table:
    table = plain_table("CELL", "TARGET", "MAX UNAVAILABLE", "GOES BACK TO", "DIGEST")
    for rollout in rollouts:
        named = rollout.target.hosts
        table.add_row(
            escape(rollout.cell),
            f"{len(named)} hosts" if named else "all its hosts",
            str(rollout.max_unavailable),
            escape(_back(rollout.baseline)),
            rollout.baseline.digest if rollout.baseline else "",
        )
    return table


def _back(baseline: Build | None) -> str:
    return baseline.version if baseline else "nothing installed"


def _names(rollout: Rollout) -> list[RenderableType]:
    """The hosts that are named, all of them: whoever signs for a host has seen its name."""
    lists = {
        "targets": rollout.target.hosts,
        "go back to nothing": rollout.bare,
        "go back with the targets": rollout.settled_hosts,
    }
    return [
        Text(f"{rollout.cell}, {what}: {', '.join(hosts)}")
        for what, hosts in lists.items()
        if hosts
    ]
