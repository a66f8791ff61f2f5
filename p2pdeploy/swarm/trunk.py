"""One release's trunk on one host: the second torrent of the same files (shell).

libtorrent has one priority map for all peers of a torrent.  So what a host exchanges with other
groups has a torrent of its own, which wants the host's stripes alone; each of the two is given
what the other has finished.  Both write the same files, and only verified bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import trio
from msgspec.structs import replace

from p2pdeploy.messages.swarm import Members, SourceBytes
from p2pdeploy.swarm.fetch_terms import Mesh
from p2pdeploy.swarm.holdings import bits_of
from p2pdeploy.swarm.stripes import ALL_STRIPES, pieces_of
from p2pdeploy.swarm.torrent import Torrent

__all__ = ["Trunk", "trunk_bytes"]

# A piece that was given is hashed within milliseconds; after this long it was lost to a fault.
GIVE_AGAIN_S = 5.0
NEVER = float("-inf")
LOOK_S = 1.0  # how soon a change of stripes is taken up

_reading = trio.CapacityLimiter(2)  # one piece each in memory, out of the page cache


class Trunk:
    """Carries one release's stripes between its two torrents.

    Args:
        group: The torrent of the group.
        trunk: The torrent between groups; added as one that wants nothing.
        mesh: Which stripes, and whom to exchange them with.
        read_piece: The bytes of a piece that either torrent has finished, verified; None while
            the disk does not show them.  Blocking.
    """

    def __init__(
        self,
        group: Torrent,
        trunk: Torrent,
        mesh: Mesh,
        read_piece: Callable[[int], bytes | None],
    ) -> None:
        self._group = group
        self._trunk = trunk
        self._mesh = mesh
        self._read_piece = read_piece

    def __repr__(self) -> str:
        return f"<Trunk {self._mesh.stripes():08b} {self._trunk!r}>"

    @property
    def peer_bytes(self) -> int:
        """Payload received from other groups."""
        return self._trunk.peer_bytes

    def received(self, members: Members) -> SourceBytes:
        """The same by source."""
        return trunk_bytes(self._trunk, members)

    async def look_at_peers(self) -> None:
        """Take note of what each carrier has sent so far."""
        await self._trunk.look_at_peers()

    def clear_fault(self) -> None:
        """Go on after a disk fault."""
        self._trunk.clear_fault()

    def look_again(self) -> None:
        """Connect to whoever is in the trunk now; want our stripes, but not what the group has."""
        for neighbour in self._mesh.trunk():
            self._trunk.connect(neighbour.address, neighbour.port)
        self._trunk.want(self._carried() & ~self._trunk.have() & ~self._group.near)

    async def carry(self) -> None:
        """Give each torrent what the other has finished, until cancelled.

        Raises:
            UnavailableError: in a group: the trunk's disk fails; the fetch is to be begun again.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._give, self._group, self._trunk, self._carried)
            nursery.start_soon(self._give, self._trunk, self._group, self._everything)
            nursery.start_soon(self._trunk.wait_complete)

    def _carried(self) -> int:
        return pieces_of(self._mesh.stripes(), self._group.piece_count)

    def _everything(self) -> int:
        return pieces_of(ALL_STRIPES, self._group.piece_count)

    async def _give(self, source: Torrent, sink: Torrent, which: Callable[[], int]) -> None:
        given_at: dict[int, float] = {}
        while True:
            now = trio.current_time()
            lacking = bits_of(source.have() & ~sink.have() & which())
            given_at = {piece: given_at[piece] for piece in lacking if piece in given_at}
            due = [piece for piece in lacking if now - given_at.get(piece, NEVER) > GIVE_AGAIN_S]
            for piece in due:
                await self._pass_on(piece, sink)
                given_at[piece] = now
            if not due:
                with trio.move_on_after(LOOK_S):
                    await source.wait_change()

    async def _pass_on(self, piece: int, sink: Torrent) -> None:
        data = await trio.to_thread.run_sync(self._read_piece, piece, limiter=_reading)
        if data is not None:
            sink.add_piece(piece, data, sent_bytes=0)


def trunk_bytes(trunk: Torrent, members: Members) -> SourceBytes:
    """What came over a trunk, by source; what was on this host before counts elsewhere."""
    progress = trunk.fetch_progress(members)
    return SourceBytes() if progress is None else replace(progress.received, local=0)
