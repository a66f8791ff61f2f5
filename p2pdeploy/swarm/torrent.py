"""One release in a host's session: what it has, what it got from where, what went wrong.

The session feeds it libtorrent's alerts; everything else only reads.  No lock: all of it runs on
the trio thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator
from typing import Any

import libtorrent as lt
import trio
from msgspec.structs import replace

from p2pdeploy.errors import UnavailableError
from p2pdeploy.messages.swarm import FetchProgress, Members, SourceBytes
from p2pdeploy.swarm.bitsets import all_pieces, bitmap_from, bitset_of_flags, flags_of
from p2pdeploy.swarm.faults import disk_fault
from p2pdeploy.swarm.fetch_meter import FetchMeter
from p2pdeploy.swarm.holdings import bits_of, bitset_of
from p2pdeploy.swarm.peer_traffic import PeerSeen
from p2pdeploy.swarm.progress import Progress
from p2pdeploy.swarm.rate_meter import LinkPeaks
from p2pdeploy.swarm.torrent_params import UNWANTED, WANTED
from p2pdeploy.swarm.waits import ALL, Waits

__all__ = ["Torrent"]

_INTERESTING, _CHOKES_US = int(lt.peer_info.interesting), int(lt.peer_info.remote_choked)
_asking = trio.CapacityLimiter(2)  # it answers once it has done what is before, in microseconds
_QUERY_BLOCKS = lt.torrent_handle.query_accurate_download_counters  # of pieces not complete, too
_BOUND_BY_DISK = int(lt.peer_info.bw_disk)


class Torrent:
    """One release being fetched or seeded.  Made by ``Session.add``; ended by ``remove``."""

    def __init__(
        self,
        handle: Any,
        layout: Any,
        remove: Callable[[Torrent, bool], Any],
        touch: Callable[[], None],
        peaks: LinkPeaks | None = None,
        *,
        wants_all: bool = True,
    ) -> None:
        self._handle = handle
        self._remove = remove
        self._touch = touch  # tells the session that something may be downloading again
        self.piece_count: int = layout.num_pieces()
        self.size_bytes: int = layout.total_size()
        self._bitmap = bytearray((self.piece_count + 7) // 8)
        self._have_count = 0
        self._unsure: list[set[int]] = []  # finished while a refresh was under way, one set each
        self.near = 0  # the pieces that connected peers have, bit k for piece k
        self.wants_all = wants_all
        # What its peers are asked for, one bit per piece.
        self._wanted = all_pieces(self.piece_count) if wants_all else 0
        self._waits = Waits()
        self._peer_bytes = self._dealt_bytes = 0
        self._rates = (0, 0)
        self._peers = 0
        self.meter = FetchMeter(layout.piece_length(), peaks or LinkPeaks())
        self._offered = (-1.0, 0)  # pieces that peers have and we lack, and as of which word
        self.availability_at = -1.0  # trio's clock, of the last word on neighbours' pieces
        self.hash_failures = 0
        self.banned: set[str] = set()  # addresses of peers that sent garbage
        self.fault: UnavailableError | None = None
        self._clears = 0  # so that an answer from before the last clear_fault brings nothing back
        self.removed = trio.Event()
        self.checking = True  # libtorrent still looks at the files, as far as is known

    def __repr__(self) -> str:
        return f"<Torrent {self._have_count}/{self.piece_count} pieces, {self._peers} peers>"

    @property
    def complete(self) -> bool:
        """Every piece is verified and written."""
        return self._have_count == self.piece_count

    @property
    def is_fetching(self) -> bool:
        """Whether it lacks pieces that it asks its peers for."""
        return bool(self._wanted & ~self.have())

    @property
    def peer_bytes(self) -> int:
        """Payload received from peers, duplicates and failed blocks included."""
        return self._peer_bytes

    @property
    def dealt_bytes(self) -> int:
        """Payload handed in through :meth:`add_piece`."""
        return self._dealt_bytes

    def has(self, piece: int) -> bool:
        return bool(self._bitmap[piece >> 3] & 0x80 >> (piece & 7))

    def have_bitmap(self) -> bytes:
        """The verified pieces as a BEP 3 bitmap."""
        return bytes(self._bitmap)

    def absent(self) -> int:
        """The pieces that are neither here nor with a connected neighbour, as far as is known."""
        return all_pieces(self.piece_count) & ~self.have() & ~self.near

    def have_list(self) -> list[bool]:
        """The same, one truth value per piece."""
        return flags_of(self.have(), self.piece_count)

    def have(self) -> int:
        """The verified pieces, bit k for piece k."""
        return bitset_of(bytes(self._bitmap), self.piece_count)

    def add_piece(self, piece: int, data: bytes, *, sent_bytes: int | None = None) -> None:
        """Hand in the verified bytes of one piece; a piece that is there already is ignored.

        *sent_bytes* of them came from the origin, all if None.  The bytes are copied.
        :meth:`wait_piece` returns once they are hashed and written.
        """
        with self._while_there():
            self._handle.add_piece(piece, data, 0)
            self._dealt_bytes += len(data) if sent_bytes is None else sent_bytes
            if not self.has(piece):
                self.meter.note_handed_in(piece, trio.current_time())

    def want(self, pieces: int) -> None:
        """Ask peers for these pieces and no others; it was added as one that does not want all.

        Args:
            pieces: One bit each, bit k for piece k.
        """
        if pieces != self._wanted:
            priorities = [(k, WANTED) for k in bits_of(pieces & ~self._wanted)]
            priorities += [(k, UNWANTED) for k in bits_of(self._wanted & ~pieces)]
            with self._while_there():
                self._handle.prioritize_pieces(priorities)
                self._wanted = pieces
                self._touch()

    def connect(self, address: str, port: int) -> None:
        """Ask libtorrent to connect; nothing happens when it is connected or banned already."""
        if address not in self.banned:
            with self._while_there():
                self._handle.connect_peer((address, port), 0, 0)

    def progress(self) -> Progress:
        """A snapshot; bytes and rates are about one second old."""
        return Progress(
            pieces=self.piece_count,
            pieces_have=self._have_count,
            size_bytes=self.size_bytes,
            peer_bytes=self._peer_bytes,
            dealt_bytes=self._dealt_bytes,
            down_bytes_per_s=self._rates[0],
            up_bytes_per_s=self._rates[1],
            peers=self._peers,
            hash_failures=self.hash_failures,
            complete=self.complete,
            fault=str(self.fault) if self.fault else "",
        )

    def fetch_progress(self, members: Members) -> FetchProgress | None:
        """What the fetch is like, as it is told to the control plane; None if it only seeds.

        Args:
            members: Where each address of the cell is.
        """
        if not self.meter.fetches:
            return None
        return self.meter.progress(
            trio.current_time(),
            members,
            lacking_pieces=self.piece_count - self._have_count,
            offered_pieces=self._offered_pieces(),
            peers=self._peers,
        )

    def received(self, members: Members) -> SourceBytes:
        """What the fetch brought so far, by source; of a trunk's, what was here counts elsewhere.

        Args:
            members: Where each address of the cell is.
        """
        progress = self.fetch_progress(members)
        if progress is None:
            return SourceBytes()
        return progress.received if self.wants_all else replace(progress.received, local=0)

    def _offered_pieces(self) -> int:
        if self._offered[0] != self.availability_at:  # counted once per word from neighbours
            count = (self.near & ~self.have()).bit_count()
            self._offered = (self.availability_at, count)
        return min(self._offered[1], self.piece_count - self._have_count)

    async def wait_complete(self) -> None:
        """Return once every piece is verified and on disk.

        Raises:
            UnavailableError: the disk is full or fails (``code`` tells which), or the torrent was
                removed; after :meth:`clear_fault` the fetch goes on where it was.
        """
        await self._waits.wait(ALL, lambda: self.complete, self._obstacle)

    async def wait_piece(self, piece: int) -> None:
        """Return once *piece* is verified and on disk.  Raises as :meth:`wait_complete`."""
        await self._waits.wait(piece, lambda: self.has(piece), self._obstacle)

    async def wait_change(self) -> None:
        """Return at the next change of pieces, statistics or fault."""
        await self._waits.wait_change()

    def _obstacle(self) -> UnavailableError | None:
        """Why nothing more will come."""
        if self.removed.is_set() and self.fault is None:
            return UnavailableError("the torrent was removed", code="torrent-removed")
        return self.fault

    def clear_fault(self) -> None:
        """Go on after a disk fault.  Writes still under way may fail and set it once more."""
        if self.fault is not None:
            self.fault = None
            self._clears += 1
            with self._while_there():
                self._handle.clear_error()
                self._handle.unset_flags(lt.torrent_flags.upload_mode)
                self._handle.resume()
            self._touch()

    async def refresh(self, *, alerts_lost: bool = False) -> None:
        """Ask libtorrent for the exact state now, instead of what alerts told so far.

        Args:
            alerts_lost: Also take over a fault that libtorrent stopped for.  Otherwise its own
                alert is on its way, which names the file.

        The answer is a moment old when it arrives: pieces that alerts told of meanwhile stay.
        They are told once only, so a fetch that forgot one would wait for it for ever.
        A torrent that was removed meanwhile stays as it was known last.
        """
        query = lt.torrent_handle.query_pieces | _QUERY_BLOCKS
        meanwhile: set[int] = set()
        clears = self._clears
        status: Any = None
        self._unsure.append(meanwhile)
        try:
            with self._while_there():
                status = await trio.to_thread.run_sync(self._handle.status, query)
        finally:
            self._unsure = [other for other in self._unsure if other is not meanwhile]
        if status is None:
            return
        pieces = list(status.pieces)
        if len(pieces) != self.piece_count:
            pieces = [status.is_seeding] * self.piece_count
        for piece in meanwhile:
            pieces[piece] = True
        states = lt.torrent_status.states
        self.checking = status.state in (states.checking_files, states.checking_resume_data)
        self.note_pieces(pieces)
        self.note_status(status)
        stopped = status.errc.value() != 0 and clears == self._clears
        if alerts_lost and stopped and self.fault is None:
            self.note_fault(status.errc, os.path.join(status.save_path, ""))

    async def look_at_peers(self) -> None:
        """Take note of what each connected peer has sent so far.

        Not by the alert that there is for it: the bindings of libtorrent 2.1.1 cannot read it.
        """
        with self._while_there():
            peers = await trio.to_thread.run_sync(self._handle.get_peer_info, limiter=_asking)
            self.meter.note_peers(_seen(peer) for peer in peers)

    @contextlib.contextmanager
    def _while_there(self) -> Generator[None]:
        """Inside, libtorrent is asked; a handle that it calls invalid is of a removed torrent.

        A fetch that fails is abandoned while alerts of the same fault still have it looked at.
        """
        try:
            yield
        except RuntimeError:  # all that its bindings say
            if self._handle.is_valid():
                raise
            self.note_removed()

    async def remove(self, *, delete_files: bool = False) -> None:
        """Stop fetching and seeding; return once libtorrent has let go of it.  Idempotent."""
        await self._remove(self, delete_files)

    # What the session reports; nobody else calls these.

    def begin_fetch(self) -> None:
        """The files were looked at: what is there now came before this fetch."""
        self.meter.begin(trio.current_time(), complete=self.complete)

    def note_hash_failure(self) -> None:
        self.hash_failures += 1
        self._waits.wake()

    def note_banned(self, address: str) -> None:
        self.banned.add(address)
        self._waits.wake()

    def note_piece(self, piece: int) -> None:
        for meanwhile in self._unsure:
            meanwhile.add(piece)
        if not self.has(piece):
            self._bitmap[piece >> 3] |= 0x80 >> (piece & 7)
            self._have_count += 1
            self.meter.note_stored(piece, trio.current_time())
            self._waits.release(piece)
            if self.complete:
                self.meter.note_complete(trio.current_time())
                self._waits.release(ALL)
            self._waits.wake()

    def note_pieces(self, pieces: list[bool]) -> None:
        self._bitmap = bytearray(bitmap_from(bitset_of_flags(pieces), self.piece_count))
        self._have_count = sum(pieces)
        if self.complete:
            self.meter.note_complete(trio.current_time())
        self._waits.release_all()

    def note_status(self, status: Any) -> None:
        self._peer_bytes = status.total_payload_download
        self._rates = (status.download_payload_rate, status.upload_payload_rate)
        self._peers = status.num_peers
        self.meter.note_totals(
            trio.current_time(),
            have_bytes=status.total_done,
            peer_bytes=self._peer_bytes,
            dealt_bytes=self._dealt_bytes,
            sent_bytes=status.total_payload_upload,
        )
        self._waits.wake()

    def note_availability(self, availability: list[int], now: float) -> None:
        if len(availability) == self.piece_count:
            self.near = bitset_of_flags(availability)
            self.availability_at = now
            self._waits.wake()

    def note_fault(self, error: Any, path: str) -> None:
        """*error*: libtorrent's error_code."""
        self.fault = disk_fault(
            error.value(), error.category().name(), error.message(), path, before=self.fault
        )
        self._waits.release_all()

    def note_failure(self, error: RuntimeError) -> None:
        """Libtorrent failed where nobody waits for an answer; whoever waits for pieces is told."""
        self.fault = UnavailableError(f"libtorrent: {error}", code="swarm-failed")
        self._waits.release_all()

    def note_removed(self) -> None:
        self.removed.set()
        self._waits.release_all()

    def ask_availability(self) -> None:
        with self._while_there():
            self._handle.post_piece_availability()


def _seen(peer: Any) -> PeerSeen:
    flags = int(peer.flags)
    address, port = peer.ip
    return PeerSeen(
        address=address,
        port=port,
        down_bytes=peer.total_download,
        is_willing=bool(flags & _INTERESTING) and not flags & _CHOKES_US,
        is_disk_bound=bool(int(peer.read_state) & _BOUND_BY_DISK),
    )
