"""What a torrent knows when libtorrent's answers and its alerts cross."""

from __future__ import annotations

import threading
from functools import partial

import pytest
import trio

from p2pdeploy.errors import UnavailableError


class SlowStatus:
    """A real handle whose answer to ``status`` is an old one when it arrives."""

    def __init__(self, handle) -> None:
        self._handle = handle
        self.taken = threading.Event()
        self.may_return = threading.Event()

    def status(self, query):
        status = self._handle.status(query)
        self.taken.set()
        assert self.may_return.wait(10)
        return status

    def __getattr__(self, name: str):
        return getattr(self._handle, name)


@pytest.fixture
def slow(lab, small_release, monkeypatch):
    async def start():
        torrent = await lab_host.add(small_release)
        handle = SlowStatus(torrent._handle)
        monkeypatch.setattr(torrent, "_handle", handle)
        return torrent, handle

    lab_host = lab.host()
    return lab_host, start


async def test_a_piece_that_finishes_during_a_refresh_is_not_forgotten(slow, small_release):
    host, start = slow
    async with host.session:
        torrent, handle = await start()
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(torrent.refresh)
                await trio.to_thread.run_sync(handle.taken.wait)
                torrent.add_piece(0, small_release.piece(0))
                await torrent.wait_piece(0)
                handle.may_return.set()
        assert torrent.has(0)
        for piece in range(1, torrent.piece_count):
            torrent.add_piece(piece, small_release.piece(piece))
        with trio.fail_after(10):
            await torrent.wait_complete()


async def test_a_refresh_that_ends_leaves_the_other_one_under_way_alone(slow, small_release):
    host, start = slow
    async with host.session:
        torrent, handle = await start()
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(torrent.refresh)
                await trio.to_thread.run_sync(handle.taken.wait)
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await torrent.refresh()  # begun and given up, with as empty a set
                torrent.add_piece(0, small_release.piece(0))
                await torrent.wait_piece(0)
                handle.may_return.set()
        assert torrent.has(0)


async def test_what_is_asked_of_a_removed_torrent_is_answered_by_its_removal(lab, small_release):
    host = lab.host()
    async with host.session:
        torrent = await host.add(small_release)
        await torrent.remove()
        torrent.add_piece(0, small_release.piece(0))
        torrent.connect(host.session.address, 9)
        torrent.ask_availability()
        await torrent.refresh(alerts_lost=True)
        torrent.fault = UnavailableError("the disk is full", code="disk-full")
        torrent.clear_fault()
        for wait in (torrent.wait_complete, partial(torrent.wait_piece, 0)):
            with pytest.raises(UnavailableError) as caught:
                await wait()
            assert caught.value.code == "torrent-removed"
        assert torrent.dealt_bytes == 0


def fail_with_something_else(_query):
    raise RuntimeError("something else")


async def test_a_fault_of_libtorrents_own_is_not_taken_for_a_removal(slow):
    host, start = slow
    async with host.session:
        torrent, handle = await start()

        handle.status = fail_with_something_else
        with pytest.raises(RuntimeError, match="something else"):
            await torrent.refresh()
        assert not torrent.removed.is_set()


async def test_a_torrent_that_libtorrent_fails_with_ends_its_fetch_and_not_the_session(
    slow, small_release
):
    host, start = slow
    async with host.session:
        torrent, handle = await start()

        handle.status = fail_with_something_else
        host.session._torrents.suspect_all()
        torrent.add_piece(0, small_release.piece(0))  # brings alerts, and so the look
        with trio.fail_after(10), pytest.raises(UnavailableError, match="something else") as caught:
            await torrent.wait_complete()
        assert caught.value.code == "swarm-failed"
        await torrent.remove()
        again = await host.add(small_release)
        again.add_piece(1, small_release.piece(1))
        with trio.fail_after(10):
            await again.wait_piece(1)


async def test_a_torrent_removed_while_it_is_looked_at_leaves_the_session_running(
    slow, small_release
):
    host, start = slow
    async with host.session:
        torrent, handle = await start()
        looked_at = handle.status

        def status_after_removal(query):
            handle.taken.set()
            assert handle.may_return.wait(10)
            return looked_at(query)

        handle.status = status_after_removal
        host.session._torrents.suspect_all()
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(host.session._torrents.look_at_suspects)
                await trio.to_thread.run_sync(handle.taken.wait)
                await torrent.remove()
                handle.may_return.set()
        handle.may_return.clear()
        again = await host.add(small_release)
        again.add_piece(0, small_release.piece(0))
        with trio.fail_after(10):
            await again.wait_piece(0)


async def test_a_suspect_is_looked_at_once(slow):
    host, start = slow
    async with host.session:
        _torrent, handle = await start()
        handle.may_return.set()
        torrents = host.session._torrents
        torrents.suspect_all()
        with trio.fail_after(10):
            await torrents.look_at_suspects()
        assert handle.taken.is_set()
        assert not torrents._suspects
