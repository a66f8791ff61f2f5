"""Which releases of a service must stay signed, whoever is published after them.  Pure.

A host that was away converges to what settled, and an abort goes back to the baseline: both stage
that build, and a build that its publishers vouch for no more is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.orders import Build
from p2pdeploy.planning.conducted import Conducted, Evidence, latest

__all__ = ["versions_in_use"]


def versions_in_use(
    service: ServiceName, cells: Iterable[tuple[Conducted, Evidence]]
) -> frozenset[str]:
    """What rollouts bring and go back to, what settled, and what any host says that it runs."""
    found: set[str] = set()
    for conducted, evidence in cells:
        found.update(build.version for build in _named(service, conducted) if build is not None)
        said = evidence.get(service, {}).values()
        found.update(word.version for word in said if word.digest)
    return frozenset(found)


def _named(service: ServiceName, conducted: Conducted) -> Iterable[Build | None]:
    entry = latest(conducted, service)
    if entry is not None:
        plan = entry.rollout.plan
        yield plan.build
        yield plan.baseline
        yield entry.rollout.cell_plan.revert.build
    settled = conducted.settled.get(service)
    if settled is not None:
        yield settled.build
