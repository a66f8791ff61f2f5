"""Which machines a lab has, and what each of its cables carries (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ORIGIN", "Cable", "Machine", "Plan", "plan_lab"]

ORIGIN = "control-plane"
PREFIX = "10.99.0"
PREFIX_BITS = 24
_FIRST_HOST_OCTET = 10
HOSTS_MAX = 240


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A network namespace.  ``switch``: the bridge its cable ends at."""

    name: str
    address: str
    switch: str
    mbit: float
    cell: int = 0
    rack: int = 0


@dataclass(frozen=True, kw_only=True)
class Cable:
    """From a switch up to the next, named after the lower one: a rack's uplink or a cell's."""

    lower: str
    upper: str
    mbit: float
    kind: Literal["rack", "cell"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A tree: machines at rack or cell switches, those at the core; the origin at the core."""

    origin: Machine
    hosts: tuple[Machine, ...]
    cables: tuple[Cable, ...]

    @property
    def machines(self) -> tuple[Machine, ...]:
        return (self.origin, *self.hosts)

    @property
    def switches(self) -> tuple[str, ...]:
        """Every switch, the core first."""
        return (CORE, *(cable.lower for cable in self.cables))


CORE = "core"


def plan_lab(
    *,
    hosts: int,
    mbit: float,
    origin_mbit: float | None = None,
    cells: int = 1,
    wan_mbit: float | None = None,
    racks: int = 1,
    uplink_mbit: float | None = None,
) -> Plan:
    """Spread *hosts* evenly over *cells* and, in each, over *racks*.

    Args:
        hosts: In all.
        mbit: Rate of each host's cable, both ways, in 10^6 bit/s.
        origin_mbit: The origin's; None is *mbit*.
        cells: Each hangs on the core by a cable of *wan_mbit*; None: at the core itself.
        racks: In each cell; each hangs on it by a cable of *uplink_mbit*.
    """
    if not 1 <= hosts <= HOSTS_MAX:
        raise ValueError(f"{hosts} hosts; a lab has 1 to {HOSTS_MAX}")
    if hosts % (cells * racks):
        raise ValueError(
            f"{hosts} hosts do not fill {cells} x {racks} racks (cells x racks in each) evenly: "
            f"take a multiple of {cells * racks}"
        )
    cables: list[Cable] = []
    switches: list[tuple[int, int, str]] = []
    for cell in range(cells):
        cell_switch = CORE
        if wan_mbit is not None:
            cell_switch = f"cell{cell}"
            cables.append(Cable(lower=cell_switch, upper=CORE, mbit=wan_mbit, kind="cell"))
        for rack in range(racks):
            rack_switch = cell_switch
            if uplink_mbit is not None:
                rack_switch = f"c{cell}r{rack}"
                uplink = Cable(lower=rack_switch, upper=cell_switch, mbit=uplink_mbit, kind="rack")
                cables.append(uplink)
            switches.append((cell, rack, rack_switch))
    per_switch = hosts // len(switches)
    digits = max(2, len(str(hosts)))
    machines = [
        Machine(
            name=f"h{number + 1:0{digits}d}",
            address=f"{PREFIX}.{_FIRST_HOST_OCTET + number}",
            switch=switch,
            mbit=mbit,
            cell=cell,
            rack=rack,
        )
        for number, (cell, rack, switch) in enumerate(
            switches[number // per_switch] for number in range(hosts)
        )
    ]
    origin = Machine(name=ORIGIN, address=f"{PREFIX}.1", switch=CORE, mbit=origin_mbit or mbit)
    return Plan(origin=origin, hosts=tuple(machines), cables=tuple(cables))
