"""A fleet to which something happens, and whose times make the line then."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from lab.fleet import LabFleet
from lab.plan import Plan
from lab.rollout import Release
from lab.rows import Row
from p2pctl.lab.layout import daemon_config

__all__ = ["Scene", "Struck"]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A fleet to which something happens.  ``undo``: called when the measurement is over."""

    fleet: LabFleet
    release: Release
    patience_s: float
    undo: ExitStack

    @property
    def plan(self) -> Plan:
        return self.fleet.network.plan

    @property
    def victim(self) -> str:
        """The host that suffers, where one does."""
        return self.plan.hosts[-1].name

    @property
    def others(self) -> list[str]:
        return [host.name for host in self.plan.hosts if host.name != self.victim]

    @property
    def victim_config(self) -> Path:
        """Its ``daemon.toml``, in the host's folder."""
        return daemon_config(self.fleet.folder, self.victim)

    @property
    def everybody(self) -> list[str]:
        return [*self.others, self.victim]


@dataclass(frozen=True, kw_only=True)
class Struck:
    """``counted``: the hosts whose times make the line.  ``fields``: of this fault alone."""

    counted: list[str]
    fields: Row = field(default_factory=dict[str, "str | int | float | bool | None"])
