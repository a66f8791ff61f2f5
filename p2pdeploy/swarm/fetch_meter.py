"""What one host measures of one fetch: bytes by source, goodput, and what holds it up (pure)."""

from __future__ import annotations

from collections.abc import Iterable

from p2pdeploy.messages.swarm import FetchProgress, Members
from p2pdeploy.swarm.peer_traffic import PeerSeen, PeerTraffic, bytes_by_source
from p2pdeploy.swarm.rate_meter import LinkPeaks, RateMeter

__all__ = ["FetchMeter"]

STORE_SHARE = 0.25  # of the newest piece in the running mean; four slow pieces are a slow disk


class FetchMeter:
    """The figures of one torrent; times are seconds of one clock that only rises.

    Args:
        piece_size_bytes: Of the torrent.
        peaks: Of the host; taken further.
    """

    def __init__(self, piece_size_bytes: int, peaks: LinkPeaks) -> None:
        self._peaks = peaks
        self._down, self._up = RateMeter(piece_size_bytes), RateMeter(piece_size_bytes)
        self._traffic = PeerTraffic()
        self._storing: dict[int, float] = {}  # piece -> since when; no more than deals in flight
        self._store_s = 0.0
        self._began_at = 0.0
        self._ended_at: float | None = None
        self._have_bytes = self._local_bytes = self._peer_bytes = self._dealt_bytes = 0
        self._fetches = False

    def begin(self, now: float, *, complete: bool) -> None:
        """The files were looked at: what was noted so far was here before."""
        self._began_at = now
        self._local_bytes = self._have_bytes
        self._fetches = not complete

    @property
    def fetches(self) -> bool:
        """Whether there was anything to fetch; what only seeds has no figures."""
        return self._fetches

    def note_totals(
        self, now: float, *, have_bytes: int, peer_bytes: int, dealt_bytes: int, sent_bytes: int
    ) -> None:
        """Take in the torrent's totals: verified, from peers, from the origin, to peers."""
        self._have_bytes = max(self._have_bytes, have_bytes)
        self._peer_bytes, self._dealt_bytes = peer_bytes, dealt_bytes
        self._down.note(now, peer_bytes + dealt_bytes)
        self._up.note(now, sent_bytes)
        self._peaks.note(down=self._down, up=self._up)

    def note_peers(self, peers: Iterable[PeerSeen]) -> None:
        """Take in one look at all connections."""
        self._traffic.note(peers)

    def note_handed_in(self, piece: int, now: float) -> None:
        """A dealt piece goes to be hashed and written."""
        self._storing[piece] = now

    def note_stored(self, piece: int, now: float) -> None:
        """*piece* is verified and written; one that was not dealt tells nothing of the disk."""
        since = self._storing.pop(piece, None)
        if since is not None:
            self._store_s += STORE_SHARE * (now - since - self._store_s)

    def note_complete(self, now: float) -> None:
        """Every piece is here."""
        if self._ended_at is None:
            self._ended_at = now

    def progress(
        self,
        now: float,
        members: Members,
        *,
        lacking_pieces: int,
        offered_pieces: int,
        peers: int,
    ) -> FetchProgress:
        """All of it as of *now*.

        Args:
            now: As everywhere here.
            members: Where each address of the cell is.
            lacking_pieces: How many are not here.
            offered_pieces: How many of these a connected neighbour has.
            peers: Connections.
        """
        waits_s = max((now - since for since in self._storing.values()), default=0.0)
        return FetchProgress(
            have_bytes=self._have_bytes,
            received=bytes_by_source(
                self._traffic.by_address,
                members,
                peer_bytes=self._peer_bytes,
                dealt_bytes=self._dealt_bytes,
                local_bytes=self._local_bytes,
            ),
            down_bytes_per_s=self._down.bytes_per_s if self._ended_at is None else 0,
            down_peak_bytes_per_s=self._peaks.down_bytes_per_s,
            up_peak_bytes_per_s=self._peaks.up_bytes_per_s,
            lacking_pieces=lacking_pieces,
            offered_pieces=offered_pieces,
            peers=peers,
            peers_willing=self._traffic.willing,
            peers_disk_bound=self._traffic.disk_bound,
            store_s=round(max(self._store_s, waits_s), 3),
            began_ago_s=round(max(now - self._began_at, 0.0), 3),
            ended_ago_s=None if self._ended_at is None else round(now - self._ended_at, 3),
        )
