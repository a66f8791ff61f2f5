"""What a torrent knows when libtorrent's answers and its alerts cross."""

from __future__ import annotations

import threading

import pytest
import trio


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
