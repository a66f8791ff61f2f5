"""Who announced what: bounded tables of peers, and whom to name to whom (pure core)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import msgspec

from p2pdeploy.limits import CELL_HOSTS_MAX, SERVICES_PER_HOST_MAX
from p2ptracker.announce.requests import AnnounceRequest

if TYPE_CHECKING:
    from random import Random

__all__ = ["Answer", "Counts", "Peer", "Swarms", "SwarmsConfig"]


class SwarmsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much is remembered.

    ``interval_s`` is told to clients; a peer is forgotten after ``expire_intervals`` of silence.
    ``swarms_max``: a cell runs at most 64 services, each in an old and a new version.
    ``peers_max`` per swarm: as many as a cell has hosts; a peer above it gets an answer but is
    named to nobody.
    """

    interval_s: int = 60
    min_interval_s: int = 5
    expire_intervals: int = 2
    swarms_max: int = 2 * SERVICES_PER_HOST_MAX
    peers_max: int = CELL_HOSTS_MAX


class Peer(msgspec.Struct, frozen=True):
    """One client of one torrent, at the address that we know it to have."""

    peer_id: bytes
    address: str
    port: int
    complete: bool

    @property
    def is_v6(self) -> bool:
        return ":" in self.address

    @property
    def compact(self) -> bytes:
        """6 bytes (BEP 23), or 18 for IPv6 (BEP 7)."""
        return ipaddress.ip_address(self.address).packed + self.port.to_bytes(2, "big")


class Counts(msgspec.Struct, frozen=True):
    """Scrape figures: seeds, leechers, and how often a client finished."""

    complete: int = 0
    incomplete: int = 0
    downloaded: int = 0


class Answer(msgspec.Struct, frozen=True):
    """What one announce gets back."""

    counts: Counts
    peers: tuple[Peer, ...]


class _Swarm:
    __slots__ = ("downloaded", "heard_at", "peers")

    def __init__(self) -> None:
        self.peers: dict[tuple[str, int], Peer] = {}
        self.heard_at: dict[tuple[str, int], float] = {}  # in order of last announce
        self.downloaded = 0


class Swarms:
    """The peers of every swarm.

    Args:
        config: Limits.
        rng: Chooses whom to name; seeded in tests.
    """

    def __init__(self, config: SwarmsConfig, rng: Random) -> None:
        self._config = config
        self._rng = rng
        self._swarms: dict[bytes, _Swarm] = {}

    def __repr__(self) -> str:
        return f"<Swarms {len(self._swarms)} swarms {self.peer_count} peers>"

    @property
    def config(self) -> SwarmsConfig:
        return self._config

    @property
    def peer_count(self) -> int:
        return sum(len(swarm.peers) for swarm in self._swarms.values())

    def announce(self, request: AnnounceRequest, address: str, now: float) -> Answer:
        """Take in one announce and name other peers.

        Args:
            request: Of a torrent that may be tracked; the caller has checked that.
            address: The caller's, from a source that the caller can't choose.
            now: Monotonic seconds.
        """
        self._expire(request.info_hash, now)
        swarm = self._swarms.get(request.info_hash)
        if swarm is None:
            swarm = self._open(request.info_hash)
        me = (address, request.port)
        if request.event == "stopped":
            swarm.peers.pop(me, None)
            swarm.heard_at.pop(me, None)
            return Answer(self.counts(request.info_hash), ())
        self._store(swarm, request, me, now)
        others = [peer for where, peer in swarm.peers.items() if where != me]
        if request.left_bytes == 0:  # two seeds have nothing to say to each other
            others = [peer for peer in others if not peer.complete]
        named = self._rng.sample(others, min(request.numwant, len(others)))
        return Answer(self.counts(request.info_hash), tuple(named))

    def counts(self, info_hash: bytes) -> Counts:
        """Scrape figures of one torrent; zeros when nobody announced it."""
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            return Counts()
        complete = sum(peer.complete for peer in swarm.peers.values())
        return Counts(complete, len(swarm.peers) - complete, swarm.downloaded)

    def _open(self, info_hash: bytes) -> _Swarm:
        if len(self._swarms) >= self._config.swarms_max:
            # The one that was quiet longest; its clients come back by themselves.
            quiet = min(
                self._swarms,
                key=lambda known: max(self._swarms[known].heard_at.values(), default=0.0),
            )
            del self._swarms[quiet]
        swarm = self._swarms[info_hash] = _Swarm()
        return swarm

    def _store(
        self, swarm: _Swarm, request: AnnounceRequest, me: tuple[str, int], now: float
    ) -> None:
        known = swarm.peers.get(me)
        if known is None and len(swarm.peers) >= self._config.peers_max:
            return
        complete = request.left_bytes == 0
        if request.event == "completed" and not (known is not None and known.complete):
            swarm.downloaded += 1
        swarm.peers[me] = Peer(request.peer_id, me[0], me[1], complete)
        swarm.heard_at.pop(me, None)
        swarm.heard_at[me] = now

    def _expire(self, info_hash: bytes, now: float) -> None:
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            return
        silent_s = self._config.interval_s * self._config.expire_intervals
        while swarm.heard_at:
            oldest, heard_at = next(iter(swarm.heard_at.items()))
            if now - heard_at <= silent_s:
                return
            del swarm.heard_at[oldest], swarm.peers[oldest]
