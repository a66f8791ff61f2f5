"""One fetch's links: inside its group, and over the trunk with others (shell).

The neighbours are pushed into libtorrent again and again; it connects to those it lacks.  What they
have is looked at as often: which pieces are missing, and which stripes do not come.  A stripe that
was taken over is asked for in the trunk, at carriers of it in other groups; nobody outside ever is
a neighbour in the group's torrent for that, which could ask for everything there and could not be
let go of (libtorrent's bindings cut no single peer).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from p2pdeploy.ids import HostName
from p2pdeploy.messages.swarm import Members, SourceBytes
from p2pdeploy.swarm.fetch_terms import FetchConfig, Mesh
from p2pdeploy.swarm.nearby import Nearby
from p2pdeploy.swarm.stripe_watch import StripeWatch
from p2pdeploy.swarm.stripes import ALL_STRIPES, key_of, pieces_of, ranks_of
from p2pdeploy.swarm.torrent import Torrent
from p2pdeploy.swarm.trunk import Trunk

__all__ = ["Links", "OpenTrunk"]

OpenTrunk = Callable[[], Awaitable[Trunk]]
"""Begins to exchange a release between groups; raises P2PDeployError when that fails."""


class Links:
    """The links of one fetch; used once.

    Args:
        torrent: What is fetched, in its group.
        mesh: Whom to exchange pieces with.
        host: This one.
        config: Times.
        open_trunk: Gives the way between groups, once there are several; None: no trunk.
    """

    def __init__(
        self,
        torrent: Torrent,
        mesh: Mesh,
        host: HostName,
        config: FetchConfig,
        open_trunk: OpenTrunk | None,
    ) -> None:
        self._torrent = torrent
        self._mesh = mesh
        self._host = host
        self._config = config
        self._open_trunk = open_trunk
        self._trunk: Trunk | None = None
        self._grouped = trio.Event()  # there are other groups
        now = trio.current_time()
        piece_bytes = torrent.size_bytes // max(torrent.piece_count, 1)
        self._nearby = Nearby(config.missing_s, now)
        self._watch = StripeWatch(torrent.piece_count, piece_bytes, config.stalled_s, now)

    def __repr__(self) -> str:
        return f"<Links {self._nearby!r}, {self._watch!r}, {self._trunk!r}>"

    @property
    def trunk_bytes(self) -> int:
        """Payload received from other groups."""
        return 0 if self._trunk is None else self._trunk.peer_bytes

    def received(self, members: Members) -> SourceBytes:
        """The same by source."""
        return SourceBytes() if self._trunk is None else self._trunk.received(members)

    def stripes(self) -> int:
        """Those to draw: carried or taken over, one bit each."""
        if self._open_trunk is None:
            return ALL_STRIPES
        return self._mesh.stripes() | self._taken()

    def missing(self) -> tuple[int, ...]:
        """Pieces to be asked for by number."""
        if self._torrent.availability_at < 0:
            return ()  # the neighbours have not been heard
        taken = pieces_of(self._taken(), self._torrent.piece_count)
        return self._nearby.missing(trio.current_time(), taken)

    def note_drawn(self, pieces: list[int]) -> None:
        """These were dealt; the dealer has something new unless they were asked for by number."""
        if not all(self._nearby.is_long_absent(piece) for piece in pieces):
            self.note_exhausted(exhausted=False)

    def note_exhausted(self, *, exhausted: bool) -> None:
        """Whether the dealer has nothing new."""
        self._nearby.note_exhausted(trio.current_time(), exhausted=exhausted)

    def connect_holder(self, host: HostName) -> None:
        """Connect to a host that the dealer named: it has a missing piece."""
        holder = self._mesh.locate(host)
        if holder is not None:
            self._torrent.connect(holder.address, holder.port)

    async def keep(self) -> None:
        """Push neighbours and look at what they have, until cancelled."""
        while True:
            neighbours = [n for n in self._mesh.neighbours() if n.name != self._host]
            self._look([key_of(neighbour.name) for neighbour in neighbours])
            for neighbour in neighbours:
                self._torrent.connect(neighbour.address, neighbour.port)
            if self._mesh.has_trunk():
                self._grouped.set()
            if self._trunk is not None:
                self._trunk.look_again(self._taken())
            await self.look_at_peers()
            await trio.sleep(self._config.connect_s)

    async def carry(self) -> None:
        """Once there are other groups, exchange stripes with them, until cancelled.

        Raises:
            P2PDeployError: the trunk fails; alone or in a group.
        """
        if self._open_trunk is not None:
            await self._grouped.wait()
            self._trunk = await self._open_trunk()
            self._trunk.look_again(self._taken())
            await self._trunk.carry()

    async def look_at_peers(self) -> None:
        """Take note of what each of them has sent so far."""
        await self._torrent.look_at_peers()
        if self._trunk is not None:
            await self._trunk.look_at_peers()

    async def drain(self) -> None:
        """All is here: hand over what other groups may lack of it, while :meth:`carry` runs."""
        if self._trunk is not None:
            await self._trunk.drain()

    def _look(self, others: list[int]) -> None:
        now, absent = trio.current_time(), self._torrent.absent()
        self._nearby.note(absent, now)
        self._watch.note(absent, ranks_of(key_of(self._host), others), now)

    def _taken(self) -> int:
        return self._watch.taken if self._mesh.has_trunk() else 0
