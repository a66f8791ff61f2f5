"""Who connects to whom inside a cell (pure core).

The mesh is a union of rings.  A ring orders some hosts by a hash of ring and name and links each
to the next; the same members give the same mesh on every host, without a word exchanged.

* One ring over the whole cell comes first and always holds: the mesh is connected.
* About half the links stay inside the fault domain (short ways); never all of them, because a
  purely local handout starves groups that are far from the origin.
* Further rings over the cell fill up hosts that have links to spare, to near-regular degree.
* When one host leaves, a ring changes at one place, so few links change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from p2pdeploy.ids import FaultDomain, HostName

__all__ = ["degree_of", "mesh_of", "neighbours_of"]

SMALL_CELL_HOSTS = 32
DEGREE_SMALL = 8  # measured: more links in a small cell only lengthen the tail
DEGREE_LARGE = 12  # simulated: within a tenth of the limit at 1,000 hosts

# A fault domain much larger than all others needs more ways out than their hosts have links.
# Those hosts take up to this multiple of the degree; beyond it the rings alone connect.
DEGREE_MAX_FACTOR = 2

Mesh = dict[HostName, set[HostName]]


def degree_of(host_count: int) -> int:
    """The number of neighbours a host of a cell of *host_count* hosts aims for."""
    return DEGREE_SMALL if host_count <= SMALL_CELL_HOSTS else DEGREE_LARGE


def neighbours_of(
    host: HostName, members: Mapping[HostName, FaultDomain], degree: int = 0
) -> list[HostName]:
    """The neighbours of *host* in the mesh of *members*, in name order.

    Args:
        host: Must be one of *members*.
        members: The hosts of the cell with their fault domains; all hosts must pass the same.
        degree: Links to aim for, at least 2; 0 takes :func:`degree_of`.

    Returns:
        Names without *host*; empty only when it is alone.  ``a in neighbours_of(b)`` exactly when
        ``b in neighbours_of(a)``.
    """
    return sorted(mesh_of(members, degree)[host])


def mesh_of(members: Mapping[HostName, FaultDomain], degree: int = 0) -> Mesh:
    """The whole mesh; see :func:`neighbours_of`.  About 10 ms for 1,000 hosts."""
    degree = degree or degree_of(len(members))
    assert degree >= 2, "a ring needs two links a host"
    if len(members) <= degree + 1:
        return {host: set(members) - {host} for host in members}
    mesh: Mesh = {host: set() for host in members}
    _link_ring(mesh, members, "cell 0", degree_max=len(members))
    for number in range(max(1, degree // 4)):
        for domain, hosts in _domains(members).items():
            _link_ring(mesh, hosts, f"domain {domain} {number}", degree_max=degree)
    for number in range(1, 2 * degree):
        short = [host for host in members if len(mesh[host]) < degree]
        if len(short) < 2:
            break
        _link_ring(mesh, short, f"cell {number}", degree_max=degree)
    _link_domains(mesh, members, degree * DEGREE_MAX_FACTOR)
    return mesh


def _rank(salt: str, name: str) -> bytes:
    return hashlib.blake2b(f"{salt}\0{name}".encode(), digest_size=8).digest()


def _domains(members: Mapping[HostName, FaultDomain]) -> dict[FaultDomain, list[HostName]]:
    domains: dict[FaultDomain, list[HostName]] = {}
    for host in sorted(members):
        domains.setdefault(members[host], []).append(host)
    return domains


def _link_ring(mesh: Mesh, hosts: Iterable[HostName], salt: str, degree_max: int) -> None:
    """Link each host to the next one in hash order, unless that makes one exceed *degree_max*."""
    ring = sorted(hosts, key=lambda host: (_rank(salt, host), host))
    for left, right in zip(ring, ring[1:] + ring[:1], strict=True):
        if left != right and len(mesh[left]) < degree_max and len(mesh[right]) < degree_max:
            mesh[left].add(right)
            mesh[right].add(left)


def _link_domains(mesh: Mesh, members: Mapping[HostName, FaultDomain], degree_max: int) -> None:
    """Give every host that has links only into its own fault domain one out of it."""
    for host in sorted(members, key=lambda name: (_rank("out", name), name)):
        home = members[host]
        if any(members[other] != home for other in mesh[host]):
            continue
        outside = [
            other for other in members if members[other] != home and len(mesh[other]) < degree_max
        ]
        if outside:
            chosen = min(outside, key=lambda name: (_rank(f"out {host}", name), name))
            mesh[host].add(chosen)
            mesh[chosen].add(host)
