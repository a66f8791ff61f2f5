"""Hosts and where they stand: environment, machine function, cell, fault domain."""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import CellId, FaultDomain, HostName

__all__ = ["Host", "fault_domains_of"]


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """One machine of the inventory.  ``address`` is where it binds every listener of its own."""

    name: HostName
    address: str
    environment: str
    machine_function: str
    cell: CellId
    fault_domain: FaultDomain
    gossip_port: int
    swarm_port: int
    host_port: int  # where the daemon answers its operators (logs, status)
    enrolment: int = 1  # rises each time the host is enrolled anew; upper half of its epoch


def fault_domains_of(hosts: list[Host]) -> dict[FaultDomain, list[Host]]:
    """Group *hosts* by fault domain, both levels in name order."""
    grouped: dict[FaultDomain, list[Host]] = {}
    for host in sorted(hosts, key=lambda h: (h.fault_domain, h.name)):
        grouped.setdefault(host.fault_domain, []).append(host)
    return grouped
