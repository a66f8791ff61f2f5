"""A host's one libtorrent session under trio (shell).

libtorrent runs its own threads.  It tells of events through a socket that trio waits on; while
nothing is being downloaded nothing here wakes up.  Everything public runs on the trio thread.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, cast

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
from p2pdeploy.swarm.settings import DISK_IO, session_settings
from p2pdeploy.swarm.torrent import Torrent
from p2pdeploy.swarm.torrent_params import params_of
from p2pdeploy.trust.addresses import require_address, require_loopback

__all__ = ["Session"]

REFRESH_S = 1.0  # how old a torrent's statistics and its view of neighbours may be
LISTEN_S = 10.0  # binding takes milliseconds; longer means that libtorrent is stuck
CHECK_S = 30.0  # opening the files of a release; they are hashed only when they contradict
CHECK_BYTES_PER_S_MIN = 20_000_000  # a disk that hashes slower than this hangs, in effect
REMOVE_S = 30.0  # closing files waits for writes under way


class Session:
    """``async with Session(address, port) as session``: listens while inside, closes on exit.

    Args:
        address: Literal IPv4 address that every socket binds; of loopback in a plain swarm.
        port: TCP port to listen on; 0 takes a free one, see :attr:`port`.
        identity: The leaf under the swarm CA.  With it there is no plain port, and nobody may
            connect until :meth:`admit` says who.  None is a plain swarm, for comparisons.

    Raises:
        ConfigError: the address is none, or a plain swarm's is not loopback; (on entry) it is
            not this host's.
        TrustError: the key of *identity* is not its certificate's.
        UnavailableError: (on entry) the port is taken.
    """

    def __init__(self, address: str, port: int, identity: SwarmIdentity | None = None) -> None:
        require = require_address if identity else require_loopback
        self.address = require(address, where="swarm address")
        self.port = port
        self._identity = None if identity is None else require_pair(identity)
        self._admission = Admission(everybody=identity is None)
        self._torrents: dict[Any, Torrent] = {}  # by libtorrent's handle
        self._leaving: dict[Any, Torrent] = {}  # being removed; only the last alert matters
        self._checked: dict[Any, trio.Event] = {}  # torrents whose files are looked at now
        self._suspects: set[Any] = set()  # torrents that need a look because alerts were lost
        self._listening = trio.Event()
        self._listen_fault = ""
        self._work = trio.Event()  # set while something may be downloading
        self._stack = contextlib.AsyncExitStack()
        self._session: Any = None  # libtorrent's, while we are entered
        self._limiter = trio.CapacityLimiter(2)  # parsing of torrents; they can be large

    @property
    def authority_pem(self) -> bytes:
        """The swarm CA, which every torrent here must name; empty for a plain swarm."""
        return self._identity.authority_pem if self._identity else b""

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
            is_tls = self._identity is not None
            settings = session_settings(self.address, self.port, is_tls=is_tls)
            params.settings = cast(Any, settings)
            params.disk_io_constructor = DISK_IO
            params.ip_filter = self._admission.to_filter()
            self._session = lt.session(params)
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
        self, torrent_bytes: bytes, paths: Mapping[str, Path], have: list[bool]
    ) -> Torrent:
        """Fetch and seed one release until it is removed.

        Args:
            torrent_bytes: The .torrent, from a manifest that was checked.
            paths: The absolute path of every blob by its path in the manifest.  The directories
                exist and hold nothing that leads elsewhere: libtorrent follows what it finds.
            have: One truth value per piece: which are on disk already and verified.  When the
                files contradict (too short, not there) everything is hashed again.

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
            params_of, torrent_bytes, paths, have, limiter=self._limiter
        )
        require_ours(params.ti.ssl_cert().encode(), self._identity)
        if self._session.find_torrent(params.ti.info_hashes().get_best()).is_valid():
            raise RefusedError("this torrent is in the session already", code="torrent-present")
        layout = params.ti.layout()
        handle = self._session.add_torrent(params)
        if self._identity is not None:
            present(handle, self._identity)
        torrent = self._torrents[handle] = Torrent(handle, layout, self._remove, self._touch)
        self._checked[handle] = trio.Event()
        try:
            await self._wait_checked(handle, torrent, where=str(params.save_path))
        except BaseException:
            with trio.CancelScope(shield=True):
                await torrent.remove()
            raise
        finally:
            self._checked.pop(handle, None)
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
        for handle in self._torrents:
            present(handle, self._identity)

    def admit(self, addresses: Iterable[str]) -> None:
        """Let these members connect and nobody else; whoever is connected and is not one is cut.

        Args:
            addresses: Literal IPv4 addresses of the cell's members without the revoked ones.  The
                whole list each time; telling it again costs nothing.  Members that seem dead
                belong to it: silence in gossip is no reason to cut a transfer.
        """
        if self._admission.admit(addresses) and self._session is not None:
            self._session.set_ip_filter(self._admission.to_filter())

    async def _wait_checked(self, handle: Any, torrent: Torrent, where: str) -> None:
        """Until the files were looked at; raises UnavailableError when they cannot be."""
        timeout_s = CHECK_S + torrent.size_bytes / CHECK_BYTES_PER_S_MIN
        with trio.move_on_after(timeout_s) as patience:
            await self._checked[handle].wait()
        if patience.cancelled_caught:
            raise UnavailableError(
                f"libtorrent has not looked at the files within {timeout_s:.0f} s",
                where=where,
                hint="is the disk overloaded, or does it hang?",
                code="check-timeout",
            )
        if torrent.fault is not None:
            raise torrent.fault
        await torrent.refresh()

    async def _remove(self, torrent: Torrent, delete_files: bool) -> None:
        handle = next((key for key, known in self._torrents.items() if known is torrent), None)
        if handle is None:
            return
        self._leaving[handle] = self._torrents.pop(handle)
        self._session.remove_torrent(handle, lt.session.delete_files if delete_files else 0)
        with trio.move_on_after(REMOVE_S):
            await torrent.removed.wait()
        self._leaving.pop(handle, None)

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
        is_tls = self._identity is not None
        self.port = self._session.ssl_listen_port() if is_tls else self._session.listen_port()

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
            suspects, self._suspects = self._suspects, set()
            for handle in suspects:
                await self._look_again(handle)

    async def _look_again(self, handle: Any) -> None:
        """Learn what alerts did not tell; also the end of a check, which comes once."""
        torrent = self._torrents.get(handle)
        if torrent is None:
            return
        await torrent.refresh(alerts_lost=True)
        if torrent.fault is not None or not torrent.checking:
            self._end_check(handle)

    async def _refresh_torrents(self) -> None:
        """Once a second, and only while something downloads, ask for statistics."""
        while True:
            await self._work.wait()
            busy = [torrent for torrent in self._torrents.values() if not torrent.complete]
            for torrent in busy:
                torrent.ask_availability()
            self._session.post_torrent_updates(0)
            if not busy:
                self._work = trio.Event()
            await trio.sleep(REFRESH_S)

    def _take(self, alert: Any) -> None:
        """Pass one alert on.  Alerts of torrents that are gone are dropped."""
        if isinstance(alert, lt.state_update_alert):
            for status in alert.status:
                if status.handle in self._torrents:
                    self._torrents[status.handle].note_status(status)
        elif isinstance(alert, lt.alerts_dropped_alert):
            self._suspects.update(self._torrents)
        elif isinstance(alert, lt.listen_succeeded_alert):
            self._listening.set()
        elif isinstance(alert, lt.listen_failed_alert):
            self._listen_fault = alert.error.message()
            self._listening.set()
        elif isinstance(alert, lt.torrent_removed_alert):
            if alert.handle in self._leaving:
                self._leaving[alert.handle].note_removed()
        elif isinstance(alert, lt.torrent_alert) and alert.handle in self._torrents:
            self._take_torrent(alert, self._torrents[alert.handle])

    def _take_torrent(self, alert: Any, torrent: Torrent) -> None:
        if isinstance(alert, lt.piece_finished_alert):
            torrent.note_piece(alert.piece_index)
        elif isinstance(alert, lt.piece_availability_alert):
            torrent.note_availability(alert.piece_availability, trio.current_time())
        elif isinstance(alert, lt.torrent_checked_alert):
            self._end_check(alert.handle)
        elif isinstance(alert, lt.hash_failed_alert):
            torrent.note_hash_failure()
        elif isinstance(alert, lt.peer_ban_alert):
            self._ban(alert.ip[0])
            torrent.note_banned(alert.ip[0])
        elif isinstance(alert, lt.file_error_alert):
            torrent.note_fault(alert.error, alert.filename())
            self._end_check(alert.handle)
        elif isinstance(alert, lt.torrent_error_alert):
            # It follows a file's own alert, which says more and may be cleared by now.
            self._suspects.add(alert.handle)

    def _ban(self, address: str) -> None:
        """Refuse *address* for good: libtorrent's own ban covers one port, and peers call back."""
        self._admission.ban(address)
        self._session.set_ip_filter(self._admission.to_filter())

    def _end_check(self, handle: Any) -> None:
        """The files were looked at: what it has now may be less than what we were told."""
        if handle in self._checked:
            self._checked[handle].set()
        else:
            self._suspects.add(handle)
