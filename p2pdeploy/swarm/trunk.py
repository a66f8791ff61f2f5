"""One release's trunk on one host: the second torrent of the same files (shell).

libtorrent has one priority map for all peers of a torrent.  So what a host exchanges with other
groups has a torrent of its own, which wants the host's stripes alone; each of the two is given
what the other has finished.  Both write the same files, and only verified bytes.

While the cell has no other groups the trunk wants nothing and is given nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from p2pdeploy.messages.swarm import Members, SourceBytes
from p2pdeploy.swarm.fetch_terms import Mesh
from p2pdeploy.swarm.hand_over import HandOver
from p2pdeploy.swarm.stripes import pieces_of
from p2pdeploy.swarm.torrent import Torrent

__all__ = ["Trunk"]

LOOK_S = 0.25  # how soon a change of stripes is taken up, and a piece that could not be read yet
# What was handed over last is read out of the page cache, hashed and written within milliseconds;
# a disk that takes longer than this must not hold up the release's own end.
DRAIN_S = 5.0

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
        self._taken = 0

    def __repr__(self) -> str:
        return f"<Trunk {self._mesh.stripes():08b} {self._trunk!r}>"

    @property
    def peer_bytes(self) -> int:
        """Payload received from other groups."""
        return self._trunk.peer_bytes

    def received(self, members: Members) -> SourceBytes:
        """The same by source."""
        return self._trunk.received(members)

    async def look_at_peers(self) -> None:
        """Take note of what each carrier has sent so far."""
        await self._trunk.look_at_peers()

    def look_again(self, taken: int = 0) -> None:
        """Connect to whoever is in the trunk now; want our stripes, but not what the group has.

        Args:
            taken: Stripes that this host has taken over, one bit each; exchanged as well.
        """
        self._taken = taken
        for neighbour in (*self._mesh.trunk(), *(self._mesh.farther() if taken else ())):
            self._trunk.connect(neighbour.address, neighbour.port)
        self._trunk.want(self._carried() & ~self._trunk.have() & ~self._group.near)

    async def carry(self) -> None:
        """Give each torrent what the other has finished, until cancelled.

        Raises:
            UnavailableError: in a group: the trunk's disk fails; the fetch is to be begun again.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._give, self._group, self._trunk, self._carried)
            nursery.start_soon(self._give, self._trunk, self._group, self._trunk.have)
            nursery.start_soon(self._trunk.wait_complete)

    async def drain(self) -> None:
        """The group has all: return once other groups can ask for our stripes too, or soon after.

        :meth:`carry` runs meanwhile.  Nothing is asked of other groups any more.
        """
        self._trunk.want(0)
        with trio.move_on_after(DRAIN_S):
            while self._group.have() & self._carried() & ~self._trunk.have():
                with trio.move_on_after(LOOK_S):
                    await self._trunk.wait_change()

    def _carried(self) -> int:
        if not self._mesh.has_trunk():
            return 0
        return pieces_of(self._mesh.stripes() | self._taken, self._group.piece_count)

    async def _give(self, source: Torrent, sink: Torrent, which: Callable[[], int]) -> None:
        hand_over = HandOver(source.size_bytes // max(source.piece_count, 1))
        while True:
            now = trio.current_time()
            due = hand_over.due(source.have() & which() & ~sink.have(), now)
            for piece in due:
                if not await self._pass_on(piece, sink):
                    hand_over.note_unread(piece, trio.current_time())
            if not due:
                with trio.move_on_after(LOOK_S):
                    await (sink if hand_over.is_full else source).wait_change()

    async def _pass_on(self, piece: int, sink: Torrent) -> bool:
        data = await trio.to_thread.run_sync(self._read_piece, piece, limiter=_reading)
        if data is None:
            return False
        sink.add_piece(piece, data, sent_bytes=0)
        return True
