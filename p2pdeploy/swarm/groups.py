"""Groups: the hosts among which a release spreads freely (pure core, over integers).

A group is a fault domain, in most fleets a rack, whose uplink all its hosts share.  Between groups
each piece goes once, see :mod:`p2pdeploy.swarm.stripes`.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["GROUP_HOSTS_MIN", "groups_of"]

# Fewer hosts could bring no more copies over an uplink than a short detour costs in time, and a
# host of three would carry three stripes to everybody else.
GROUP_HOSTS_MIN = 4

_REST = -1


def groups_of(domains: Sequence[int]) -> list[int]:
    """The group of each host of a cell.

    Args:
        domains: The fault domain of each host, as a number from 0 on.

    Returns:
        By host, the group's number.  A fault domain of ``GROUP_HOSTS_MIN`` hosts is a group; the
        hosts of smaller ones are a group together, or join the smallest group when they are too
        few for that.  A cell without two groups is one, number 0.
    """
    sizes: dict[int, int] = {}
    for domain in domains:
        sizes[domain] = sizes.get(domain, 0) + 1
    large = sorted(domain for domain, size in sizes.items() if size >= GROUP_HOSTS_MIN)
    rest_count = sum(size for size in sizes.values() if size < GROUP_HOSTS_MIN)
    rest = _REST
    if large and rest_count < GROUP_HOSTS_MIN:
        rest = min(large, key=lambda domain: (sizes[domain], domain))
    groups = [domain if sizes[domain] >= GROUP_HOSTS_MIN else rest for domain in domains]
    return groups if len(set(groups)) > 1 else [0] * len(domains)
