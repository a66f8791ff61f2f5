"""The torrents of one session, kept true by libtorrent's alerts (shell).

Alerts may be lost when very many wait, and some come once only.  So a torrent of which one could be
missing is a *suspect*, and what it is really like is asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

import libtorrent as lt
import trio

from p2pdeploy.errors import UnavailableError
from p2pdeploy.swarm.torrent import Torrent

__all__ = ["Torrents"]

CHECK_S = 30.0  # opening the files of a release; they are hashed only when they contradict
CHECK_BYTES_PER_S_MIN = 20_000_000  # a disk that hashes slower than this hangs, in effect


class Torrents:
    """Every torrent by libtorrent's handle.

    Args:
        ban: Called with the address of a peer that sent garbage.
    """

    def __init__(self, ban: Callable[[str], None]) -> None:
        self._ban = ban
        self._known: dict[Any, Torrent] = {}
        self._leaving: dict[Any, Torrent] = {}  # being removed; only the last alert matters
        self._checked: dict[Any, trio.Event] = {}  # those whose files are looked at now
        self._suspects: set[Any] = set()  # those that need a look because alerts were lost

    def __len__(self) -> int:
        return len(self._known)

    def handles(self) -> list[Any]:
        """Libtorrent's handles of all that are not leaving."""
        return list(self._known)

    def fetching(self) -> list[Torrent]:
        """Those that lack pieces which they ask their peers for."""
        return [torrent for torrent in self._known.values() if torrent.is_fetching]

    def clear(self) -> None:
        """Forget all: the session is closed."""
        self._known.clear()

    async def enter(self, handle: Any, torrent: Torrent, *, where: str) -> None:
        """Take *torrent* in, and wait until libtorrent has looked at its files.

        Args:
            handle: Libtorrent's.
            torrent: Just added.  Whatever is raised, it stays until it is removed.
            where: Its folder, for the error.

        Raises:
            UnavailableError: the files cannot be read, or not in time (``check-timeout``).
        """
        self._known[handle] = torrent
        self._checked[handle] = trio.Event()
        try:
            await self._wait_checked(handle, torrent, where)
        finally:
            self._checked.pop(handle, None)

    async def _wait_checked(self, handle: Any, torrent: Torrent, where: str) -> None:
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
        torrent.begin_fetch()

    @contextlib.contextmanager
    def leaving(self, torrent: Torrent) -> Generator[Any | None]:
        """Inside, *torrent* hears of nothing but its removal; yields its handle, None if gone."""
        handle = next((key for key, known in self._known.items() if known is torrent), None)
        if handle is None:
            yield None
            return
        self._leaving[handle] = self._known.pop(handle)
        try:
            yield handle
        finally:
            self._leaving.pop(handle, None)

    # -- alerts --------------------------------------------------------------------------------

    def take(self, alert: Any) -> None:
        """Pass one alert on.  Alerts of torrents that are gone are dropped."""
        if isinstance(alert, lt.state_update_alert):
            for status in alert.status:
                if status.handle in self._known:
                    self._known[status.handle].note_status(status)
        elif isinstance(alert, lt.alerts_dropped_alert):
            self.suspect_all()
        elif isinstance(alert, lt.torrent_removed_alert):
            if alert.handle in self._leaving:
                self._leaving[alert.handle].note_removed()
        elif isinstance(alert, lt.torrent_alert) and alert.handle in self._known:
            self._take_own(alert, self._known[alert.handle])

    def _take_own(self, alert: Any, torrent: Torrent) -> None:
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

    def _end_check(self, handle: Any) -> None:
        """The files were looked at: what it has now may be less than what we were told."""
        if handle in self._checked:
            self._checked[handle].set()
        else:
            self._suspects.add(handle)

    def suspect_all(self) -> None:
        """Any alert of any torrent may have been lost."""
        self._suspects.update(self._known)

    async def look_at_suspects(self) -> None:
        """Ask libtorrent what alerts did not tell of each suspect."""
        suspects, self._suspects = self._suspects, set()
        for handle in suspects:
            await self._look_again(handle)

    async def _look_again(self, handle: Any) -> None:
        """Learn what was missed; also the end of a check, which comes once."""
        torrent = self._known.get(handle)
        if torrent is None:
            return
        try:
            await torrent.refresh(alerts_lost=True)
        except RuntimeError as error:  # of this torrent: the session has others
            torrent.note_failure(error)
        if handle in self._checked and (torrent.fault is not None or not torrent.checking):
            self._checked[handle].set()
