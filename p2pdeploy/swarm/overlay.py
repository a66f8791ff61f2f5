"""A host's place among the others: its group, its stripes and its links (pure core).

Names become numbers here; what is decided stands in :mod:`~p2pdeploy.swarm.groups`,
:mod:`~p2pdeploy.swarm.stripes` and :mod:`~p2pdeploy.swarm.trunks`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from p2pdeploy.ids import FaultDomain, HostName
from p2pdeploy.swarm.groups import groups_of
from p2pdeploy.swarm.neighbours import neighbours_of
from p2pdeploy.swarm.stripes import ALL_STRIPES, STRIPES, carriers_of, key_of
from p2pdeploy.swarm.trunks import gateways_of, linked_with

__all__ = ["CellPlan", "Place", "place_of", "plan_cell"]


class CellPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The groups of a cell.

    ``groups``: the members of each, with their fault domains.  ``carriers``: of each group, the
    host that carries each stripe; the groups stand in the same order.
    """

    groups: tuple[dict[HostName, FaultDomain], ...]
    carriers: tuple[tuple[HostName, ...], ...]

    def carriers_of(self, stripe: int) -> list[HostName]:
        """One host of each group."""
        return [carriers[stripe] for carriers in self.carriers]

    def gateways(self, stripe: int, count: int = 1) -> list[HostName]:
        """The cell's gateway for *stripe*, then who follows when it dies."""
        carriers = self.carriers_of(stripe)
        best = gateways_of([key_of(name) for name in carriers], stripe, count)
        return [carriers[index] for index in best]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where one host stands.

    ``neighbours``: in the mesh of its group.  ``has_trunk``: it carries stripes that other groups
    or cells bring and get.  ``stripes``: those it draws and carries, one bit each; all when there
    is nobody but its group.
    ``trunk``: whom it exchanges its stripes with in its cell; ``farther``: whom it would, if it
    carried all of them.  ``gateway_of``: the stripes that it
    also exchanges with other cells.
    """

    neighbours: tuple[HostName, ...]
    has_trunk: bool = False
    stripes: int = ALL_STRIPES
    trunk: tuple[HostName, ...] = ()
    farther: tuple[HostName, ...] = ()
    gateway_of: int = 0


def plan_cell(members: Mapping[HostName, FaultDomain]) -> CellPlan:
    """The groups of a cell; every host that passes the same *members* gets the same.

    Args:
        members: The live hosts, at least one, with their fault domains.
    """
    names = sorted(members)
    numbers = {domain: number for number, domain in enumerate(sorted(set(members.values())))}
    numbered = groups_of([numbers[members[name]] for name in names])
    groups: dict[int, dict[HostName, FaultDomain]] = {}
    for name, number in zip(names, numbered, strict=True):
        groups.setdefault(number, {})[name] = members[name]
    in_order = tuple(groups[number] for number in sorted(groups))
    return CellPlan(groups=in_order, carriers=tuple(_carriers(list(group)) for group in in_order))


def _carriers(names: list[HostName]) -> tuple[HostName, ...]:
    return tuple(names[index] for index in carriers_of([key_of(name) for name in names]))


def place_of(host: HostName, plan: CellPlan, *, has_other_cells: bool, degree: int = 0) -> Place:
    """Where *host* stands.

    Args:
        host: One of the members that *plan* was made of.
        plan: Of its cell.
        has_other_cells: Whether the release comes into this cell from other cells as well.
        degree: Neighbours to aim for; 0 takes the mesh's own.
    """
    own = next(number for number, group in enumerate(plan.groups) if host in group)
    neighbours = tuple(neighbours_of(host, plan.groups[own], degree))
    if len(plan.groups) == 1 and not has_other_cells:
        return Place(neighbours=neighbours)
    carried = [stripe for stripe in range(STRIPES) if plan.carriers[own][stripe] == host]
    linked = [_linked(plan, stripe, own) for stripe in range(STRIPES)]
    led = [stripe for stripe in carried if plan.gateways(stripe) == [host]]
    return Place(
        neighbours=neighbours,
        has_trunk=bool(carried),
        stripes=_set_of(carried),
        trunk=tuple(sorted({name for stripe in carried for name in linked[stripe]})),
        farther=tuple(sorted({name for names in linked for name in names})),
        gateway_of=_set_of(led) if has_other_cells else 0,
    )


def _linked(plan: CellPlan, stripe: int, own: int) -> list[HostName]:
    """The carriers of *stripe* that the one of group *own* is linked with."""
    carriers = plan.carriers_of(stripe)
    keys = [key_of(name) for name in carriers]
    return [carriers[index] for index in linked_with(keys, stripe, own)]


def _set_of(stripes: list[int]) -> int:
    return sum(1 << stripe for stripe in stripes)
