"""Outlines are cut once, kept within a bound, and one host does not crowd out another."""

from __future__ import annotations

from typing import cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import Digest, HostName
from p2pdeploy.payload.outline import outline_of
from p2ptracker import outliner
from p2ptracker.outliner import Outliner
from p2ptracker.storage.interfaces import BlobStore

A, B = HostName("a"), HostName("b")
BLOB = Digest("ab" * 32)
DATA = bytes(range(256)) * 400


class Store:
    """One blob; counts reads."""

    def __init__(self) -> None:
        self.reads: list[int] = []

    def read(self, _digest: Digest, offset_bytes: int, size_bytes: int) -> bytes:
        self.reads.append(offset_bytes)
        return DATA[offset_bytes : offset_bytes + size_bytes]


def make() -> tuple[Outliner, Store]:
    store = Store()
    return Outliner(cast(BlobStore, store)), store


async def test_what_was_cut_is_not_cut_again() -> None:
    cutter, store = make()
    for host in (A, B):
        [outline] = await cutter.outline(host, [(BLOB, 5, 9_000)])
        assert outline == outline_of(DATA[5:9_005])
    assert store.reads == [5]


async def test_what_was_not_used_for_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    cutter, store = make()
    parts = len(outline_of(DATA[:9_000]).sizes_bytes)
    ranges = [(BLOB, 0, 9_000), (BLOB, 9_000, 9_000), (BLOB, 18_000, 9_000)]
    monkeypatch.setattr(outliner, "PARTS_KEPT_MAX", 2 * parts + 4)
    await cutter.outline(A, ranges[:2])
    await cutter.outline(A, ranges[:1])
    await cutter.outline(A, ranges[2:])
    assert store.reads == [0, 9_000, 18_000]
    await cutter.outline(A, ranges[:1])
    assert len(store.reads) == 3, "used lately"
    await cutter.outline(A, ranges[1:2])
    assert len(store.reads) == 4


async def test_a_host_that_was_not_answered_yet_asks_in_vain() -> None:
    cutter, _ = make()
    with cutter._one_of(A), pytest.raises(UnavailableError):
        await cutter.outline(A, [(BLOB, 0, 9_000)])
    await cutter.outline(A, [(BLOB, 0, 9_000)])


async def test_a_host_whose_connection_ends_may_ask_again() -> None:
    cutter, _ = make()
    async with trio.open_nursery() as nursery:
        cutter._limiter.acquire_on_behalf_of_nowait("another")
        nursery.start_soon(cutter.outline, A, [(BLOB, 0, 9_000)])
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    cutter._limiter.release_on_behalf_of("another")
    assert len(await cutter.outline(A, [(BLOB, 0, 9_000)])) == 1
