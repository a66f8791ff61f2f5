"""Ask what small parts changed chunks consist of, and copy those that are here.

It saves bytes and is needed for nothing: without the control plane the chunks come whole.
"""

from __future__ import annotations

from p2pdaemon.control import ControlPlane
from p2pdaemon.log import get_logger
from p2pdaemon.release_parts import disk_hop
from p2pdeploy.errors import P2PDeployError
from p2pdeploy.messages.outline import OUTLINES_MAX, OutlineRequest
from p2pdeploy.payload.delta import Delta
from p2pdeploy.payload.outline import check_outlines
from p2pdeploy.swarm.dealer_client import ReleaseKey

__all__ = ["OutlineReader"]

_log = get_logger("stage")

# 1 % of up to 170 MB: a host that lacks more than that is no host with an older release.
EDGES_MAX = 2_048


class OutlineReader:
    """Refines what a host has.

    Args:
        control: Knows the outlines.
    """

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    async def follow(self, delta: Delta, key: ReleaseKey) -> None:
        """Copy what is here of the edges of what changed, the first ``EDGES_MAX`` of them.

        Raises:
            OSError: the disk fails or is full.
        """
        edges = delta.edges[:EDGES_MAX]
        for first in range(0, len(edges), OUTLINES_MAX):
            some = edges[first : first + OUTLINES_MAX]
            chunks = [edge.chunk for edge in some]
            request = OutlineRequest(
                cell=key.cell,
                manifest_digest=key.manifest_digest,
                host=key.host,
                chunks=tuple(chunks),
            )
            try:
                outlines = check_outlines(chunks, await self._control.outlines(request))
            except P2PDeployError as error:
                _log.warning("no outlines", digest=key.manifest_digest, error=str(error))
                return
            await disk_hop(delta.copy_parts, some, outlines)
