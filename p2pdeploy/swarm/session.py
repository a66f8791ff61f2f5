"""A host's one libtorrent session under trio (shell).

libtorrent runs its own threads.  It tells of events through a socket that trio waits on; while
nothing is being downloaded nothing here wakes up.  Everything public runs on the trio thread.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, cast

import libtorrent as lt
import trio

from p2pdeploy.errors import RefusedError, UnavailableError
from p2pdeploy.swarm.admission import Admission
from p2pdeploy.swarm.background import start_tasks
from p2pdeploy.swarm.identity import (
    SwarmIdentity,
    present,
    require_ours,
    require_pair,
    require_successor,
)
from p2pdeploy.swarm.peer_classes import FarClass
from p2pdeploy.swarm.rate_meter import LinkPeaks
from p2pdeploy.swarm.settings import DISK_IO, rate_settings, send_buffer_settings, session_settings
from p2pdeploy.swarm.torrent import Torrent
from p2pdeploy.swarm.torrent_params import params_of
from p2pdeploy.swarm.torrents import Torrents
from p2pdeploy.trust.addresses import require_address

__all__ = ["Session", "Traffic"]

REFRESH_S = 1.0  # how old a torrent's statistics and its view of neighbours may be
ALERTS_EVERY_S = 0.03  # pieces come by the hundred a second; a wake costs as much as ten alerts
LISTEN_S = 10.0  # binding takes milliseconds; longer means that libtorrent is stuck
REMOVE_S = 30.0  # closing files waits for writes under way


class Traffic(NamedTuple):
    """Payload over peer connections since the session began, in bytes."""

    received_bytes: int
    sent_bytes: int


class Session:
    """``async with Session(...) as session``: listens while inside, closes on exit.

    Args:
        address: Literal IPv4 address that every socket binds.
        port: TCP port to listen on; 0 takes a free one, see :attr:`port`.
        identity: The leaf under the swarm CA.  There is no plain port, and nobody may connect
            until :meth:`admit` says who.

    Raises:
        ConfigError: the address is none; (on entry) it is not this host's.
        TrustError: the key of *identity* is not its certificate's.
        UnavailableError: (on entry) the port is taken.
    """

    def __init__(self, address: str, port: int, identity: SwarmIdentity) -> None:
        self.address = require_address(address, where="swarm address")
        self.port = port
        self._identity = require_pair(identity)
        self._admission = Admission()
        self._far: frozenset[str] = frozenset()
        self._torrents = Torrents(self._ban)
        self._peaks = LinkPeaks()
        self._listening = trio.Event()
        self._listen_fault = ""
        self._traffic = Traffic(0, 0)
        self._counted = trio.Event()  # set when libtorrent has told the traffic that was asked for
        self._work = trio.Event()  # set while something may be downloading
        self._stack = contextlib.AsyncExitStack()
        self._session: Any = None  # libtorrent's, while we are entered
        self._limiter = trio.CapacityLimiter(2)  # parsing of torrents; they can be large

    @property
    def authority_pem(self) -> bytes:
        """The swarm CA, which every torrent here must name."""
        return self._identity.authority_pem

    def __repr__(self) -> str:
        return f"<Session {self.address}:{self.port}, {len(self._torrents)} torrents>"

    async def __aenter__(self) -> Session:
        async with contextlib.AsyncExitStack() as stack:
            receiver, sender = socket.socketpair()
            stack.enter_context(receiver)
            stack.enter_context(sender)
            receiver.setblocking(False)
            sender.setblocking(False)
            self._receiver = receiver
            params = lt.session_params()
            params.settings = cast(Any, session_settings(self.address, self.port))
            params.disk_io_constructor = DISK_IO
            params.ip_filter = self._admission.to_filter()
            self._session = lt.session(params)
            self._far_class = FarClass(self._session)
            self._apply_far()
            stack.push_async_callback(self._close)
            self._session.set_alert_fd(sender.fileno())
            await start_tasks(stack, self._receive_alerts, self._refresh_torrents)
            await self._wait_listening()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def add(
        self,
        torrent_bytes: bytes,
        paths: Mapping[str, Path],
        have: list[bool],
        gaps: Mapping[int, Sequence[tuple[int, int]]] | None = None,
        *,
        wants_all: bool = True,
    ) -> Torrent:
        """Fetch and seed one release until it is removed.

        Args:
            torrent_bytes: The .torrent, from a manifest that was checked.
            paths: The absolute path of every blob by its path in the manifest.  The directories
                exist and hold nothing that leads elsewhere: libtorrent follows what it finds.
            have: One truth value per piece: which are on disk already and verified.  When the
                files contradict (too short, not there) everything is hashed again.
            gaps: Of pieces that are on disk in part, by number: the ranges that are missing, from
                a first byte of the piece to the one after the last.  Everything else of such a
                piece must be right: when it is not, who sends the rest is taken for a liar.
            wants_all: Whether it asks its peers for every piece; else for what it is told to want.

        Returns:
            The torrent, checked, connected to nobody.

        Raises:
            TrustError: the torrent's swarm CA is not ours (``foreign-torrent``).
            IntegrityError: not a torrent, pieces below ``PIECE_BYTES_MIN``, or another number of
                blobs or pieces than the caller says.
            RefusedError: this torrent was added before.
            UnavailableError: the files cannot be read, or not in time (``check-timeout``).
        """
        params = await trio.to_thread.run_sync(
            partial(params_of, torrent_bytes, paths, have, gaps or {}, wants_all=wants_all),
            limiter=self._limiter,
        )
        require_ours(params.ti.ssl_cert().encode(), self._identity)
        if self._session.find_torrent(params.ti.info_hashes().get_best()).is_valid():
            raise RefusedError("this torrent is in the session already", code="torrent-present")
        layout = params.ti.layout()
        handle = self._session.add_torrent(params)
        present(handle, self._identity)
        torrent = Torrent(
            handle, layout, self._remove, self._touch, self._peaks, wants_all=wants_all
        )
        try:
            await self._torrents.enter(handle, torrent, where=str(params.save_path))
        except BaseException:
            with trio.CancelScope(shield=True):
                await torrent.remove()
            raise
        self._work.set()
        return torrent

    def renew(self, identity: SwarmIdentity) -> None:
        """Present another leaf from now on; connections that stand go on under the old one.

        Raises:
            TrustError: its key is not its certificate's, or its authority is another one: then
                every torrent is another torrent, and a new session has to add them.  The old
                leaf stays in use.
        """
        self._identity = require_successor(identity, self._identity)
        for handle in self._torrents.handles():
            present(handle, self._identity)

    @property
    def reaches_far(self) -> bool:
        """Whether hosts of other cells are let in."""
        return bool(self._far)

    def admit(self, addresses: Iterable[str], *, far: Iterable[str] = ()) -> None:
        """Let these members connect and nobody else; whoever is connected and is not one is cut.

        Args:
            addresses: Literal IPv4 addresses of the cell's members without the revoked ones.  The
                whole list each time; telling it again costs nothing.  Members that seem dead
                belong to it: silence in gossip is no reason to cut a transfer.
            far: The same of hosts of other cells; that they are far holds for the connections
                made after it.
        """
        far_before, self._far = self._far, frozenset(far)
        if self._session is not None and self._far != far_before:
            self._apply_far()
        if self._admission.admit((*addresses, *self._far)) and self._session is not None:
            self._session.set_ip_filter(self._admission.to_filter())

    def _apply_far(self) -> None:
        self._far_class.tell(self._session, self._far)
        self._session.apply_settings(send_buffer_settings(far=self.reaches_far))

    def limit_far(self, download_bytes_per_s: int | None) -> None:
        """Take in no more than this from hosts of other cells together; None: no limit."""
        self._far_class.limit(self._session, download_bytes_per_s)

    def limit_rates(self, download_bytes_per_s: int | None, upload_bytes_per_s: int | None) -> None:
        """Move no more than this over peer connections, all torrents together; None: no limit."""
        self._session.apply_settings(rate_settings(download_bytes_per_s, upload_bytes_per_s))

    async def traffic(self) -> Traffic:
        """What went over peer connections so far; libtorrent's own answer, or the last one."""
        self._counted = trio.Event()
        self._session.post_session_stats()
        with trio.move_on_after(REFRESH_S):
            await self._counted.wait()
        return self._traffic

    async def _remove(self, torrent: Torrent, delete_files: bool) -> None:
        with self._torrents.leaving(torrent) as handle:
            if handle is None:
                return
            self._session.remove_torrent(handle, lt.session.delete_files if delete_files else 0)
            with trio.move_on_after(REMOVE_S):
                await torrent.removed.wait()

    def _touch(self) -> None:
        self._work.set()

    async def _wait_listening(self) -> None:
        with trio.move_on_after(LISTEN_S):
            await self._listening.wait()
        if not self._listening.is_set():
            self._listen_fault = "no answer from libtorrent"
        if self._listen_fault:
            raise UnavailableError(
                f"cannot listen: {self._listen_fault}",
                where=f"{self.address}:{self.port}",
                hint="is another daemon running there?",
                code="port-taken",
            )
        self.port = self._session.ssl_listen_port()

    async def _close(self) -> None:
        """Stop libtorrent's threads; its destructor waits for them, so not on the trio thread."""
        holder, self._session = [self._session], None
        self._torrents.clear()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(holder.clear)

    async def _receive_alerts(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._receiver)
            with contextlib.suppress(BlockingIOError):
                self._receiver.recv(4096)
            for alert in self._session.pop_alerts():
                self._take(alert)
            await self._torrents.look_at_suspects()
            await trio.sleep(ALERTS_EVERY_S)

    async def _refresh_torrents(self) -> None:
        """Once a second, and only while something downloads, ask for statistics."""
        while True:
            await self._work.wait()
            busy = self._torrents.fetching()
            for torrent in busy:
                _ask_availability(torrent)
            self._session.post_torrent_updates(0)
            if not busy:
                self._work = trio.Event()
            await trio.sleep(REFRESH_S)

    def _take(self, alert: Any) -> None:
        if isinstance(alert, lt.listen_succeeded_alert):
            self._listening.set()
        elif isinstance(alert, lt.session_stats_alert):
            values = alert.values
            self._traffic = Traffic(
                values["net.recv_payload_bytes"], values["net.sent_payload_bytes"]
            )
            self._counted.set()
        elif isinstance(alert, lt.listen_failed_alert):
            self._listen_fault = alert.error.message()
            self._listening.set()
        else:
            self._torrents.take(alert)

    def _ban(self, address: str) -> None:
        """Refuse *address* for good: libtorrent's own ban covers one port, and peers call back."""
        self._admission.ban(address)
        self._session.set_ip_filter(self._admission.to_filter())


def _ask_availability(torrent: Torrent) -> None:
    """Only where all pieces are wanted: between groups nobody asks what others have."""
    if torrent.wants_all:
        try:
            torrent.ask_availability()
        except RuntimeError as error:  # of this torrent: the session has others
            torrent.note_failure(error)
