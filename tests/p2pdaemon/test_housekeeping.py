"""The disk stays in bounds whatever one service does to its own folder."""

from __future__ import annotations

import itertools

import trio

from p2pdaemon.collector import KEEP_UNASKED_S, Collector
from p2pdaemon.housekeeping import tidy_up
from p2pdaemon.services.logs import ROTATE_BYTES


class Stager:
    """Stages nothing; keeps what it was told to drop."""

    def __init__(self) -> None:
        self.dropped = trio.Event()

    def in_use(self):
        return frozenset()

    async def delete(self, digest, *, is_kept) -> bool:
        self.dropped.set()
        return True


async def test_one_bad_log_stops_neither_other_rotations_nor_collection(store, monkeypatch):
    store.log_path("aaa").mkdir(parents=True)
    good = store.log_path("bbb")
    good.parent.mkdir(parents=True)
    good.write_bytes(b"x" * (ROTATE_BYTES + 1))
    (store.root("d" * 64)).mkdir()
    times = itertools.count(0.0, KEEP_UNASKED_S)
    monkeypatch.setattr("p2pdaemon.housekeeping.boottime_s", lambda: next(times))
    monkeypatch.setattr("p2pdaemon.housekeeping.TIDY_EVERY_S", 0.0)
    stager = Stager()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tidy_up, store, Collector(), stager)
            await stager.dropped.wait()
            nursery.cancel_scope.cancel()
    assert good.stat().st_size == 0
