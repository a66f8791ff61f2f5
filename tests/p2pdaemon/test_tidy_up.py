"""Releases nobody asks for go, what runs or is being staged stays, and freed memory is returned."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from p2pdaemon import housekeeping
from p2pdaemon.collector import KEEP_UNASKED_S, Collector
from p2pdaemon.housekeeping import tidy_up
from p2pdaemon.store import ReleaseStore
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.messages.orders import Build

HELLO = ServiceName("hello")

BLOCK_BYTES = 60_000  # small enough not to be a mapping of its own
BLOCKS = 1_000


class Seeds:
    """The stager's part: what is in use, and the deletion itself."""

    def __init__(self, store: ReleaseStore) -> None:
        self._store = store
        self.staging: frozenset[Digest] = frozenset()
        self.deleted: list[Digest] = []

    def in_use(self) -> frozenset[Digest]:
        return self.staging

    async def delete(self, digest: Digest, *, is_kept: Callable[[], bool]) -> bool:
        assert not is_kept()
        self.deleted.append(digest)
        self._store.remove(digest)
        return True


class Bench:
    def __init__(self, store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.collector = Collector()
        self.seeds = Seeds(store)
        self.boot_s = 1000.0
        self.rounds = 0
        monkeypatch.setattr(housekeeping, "boottime_s", self._boottime_s)
        monkeypatch.setattr(housekeeping, "TIDY_EVERY_S", 0.001)

    def _boottime_s(self) -> float:
        self.rounds += 1
        return self.boot_s

    async def look(self, times: int = 2) -> None:
        """Let it look, begin to end, at least so many times."""
        wanted = self.rounds + times + 1
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tidy_up, self.store, self.collector, self.seeds)
                while self.rounds < wanted:  # noqa: ASYNC110 it works in threads
                    await trio.sleep(0.001)
                nursery.cancel_scope.cancel()


@pytest.fixture
def bench(store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(store, monkeypatch)


async def test_a_release_nobody_asks_for_goes_after_its_time_and_not_before(
    bench: Bench, release: Callable[..., Build]
) -> None:
    build = release("1.0.0")
    await bench.look()
    bench.boot_s += KEEP_UNASKED_S - 1
    await bench.look()
    assert bench.store.is_staged(build.digest)
    bench.boot_s += 1
    await bench.look()
    assert not bench.store.root(build.digest).exists()
    assert bench.seeds.deleted == [build.digest]


async def test_what_runs_is_asked_for_or_is_being_staged_stays(
    bench: Bench, release: Callable[..., Build]
) -> None:
    runs, asked, staging = release("1.0.0"), release("1.1.0"), release("1.2.0")
    bench.store.switch(HELLO, runs.digest)
    bench.collector.keep(HELLO, frozenset({asked.digest}))
    bench.seeds.staging = frozenset({staging.digest})
    await bench.look()
    bench.boot_s += 10 * KEEP_UNASKED_S
    await bench.look()
    assert set(bench.store.digests()) == {runs.digest, asked.digest, staging.digest}
    assert bench.seeds.deleted == []


async def test_freed_memory_goes_back_to_the_kernel(bench: Bench) -> None:
    """Small blocks in a heap whose top is in use: glibc alone would keep all of it.

    A C library that returns memory by itself (musl) does so before the look, which is as good.
    """
    blocks = [bytearray(BLOCK_BYTES) for _ in range(BLOCKS)]
    pin = bytearray(BLOCK_BYTES)
    full = _rss_bytes()
    del blocks
    await bench.look()
    assert full - _rss_bytes() > BLOCKS * BLOCK_BYTES // 2
    del pin


def _rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
