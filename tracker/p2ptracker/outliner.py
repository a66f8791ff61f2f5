"""Outlines of chunks for hosts that have something of them: cut once, one request per host.

Cutting is work for a processor, and a host may ask for any chunk of any release.  So one thread
cuts, a host waits for its own request before it may send another, and what was cut lately is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import trio

from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import Digest, HostName
from p2pdeploy.messages.outline import Outline
from p2pdeploy.payload.outline import outline_of
from p2ptracker.storage.interfaces import BlobStore

__all__ = ["BlobRange", "Outliner"]

THREADS_MAX = 1  # cutting is work for a processor, which deals must not wait for
# Of about 1 KiB and 50 bytes of memory each: 13 MiB for the changed chunks of 256 MiB.
PARTS_KEPT_MAX = 256 * 1024

BlobRange = tuple[Digest, int, int]
"""A blob, where the range begins in it, and its size; both in bytes."""


class Outliner:
    """Cuts ranges of blobs.

    Args:
        store: Holds them.
    """

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._asking: set[HostName] = set()
        self._kept: OrderedDict[BlobRange, Outline] = OrderedDict()  # used last, stands last
        self._kept_parts = 0
        self._limiter = trio.CapacityLimiter(THREADS_MAX)

    def __repr__(self) -> str:
        return f"<Outliner {len(self._kept)} kept, {len(self._asking)} hosts ask>"

    async def outline(self, host: HostName, ranges: Sequence[BlobRange]) -> list[Outline]:
        """The outlines of *ranges*, which lie within their blobs.

        Raises:
            UnavailableError: *host* has asked and not been answered yet; or the store fails.
        """
        with self._one_of(host):
            return [await self._outline(each) for each in ranges]

    @contextmanager
    def _one_of(self, host: HostName) -> Generator[None]:
        if host in self._asking:
            raise UnavailableError(
                f"{host} asks for outlines already", hint="one request at a time", code="outlining"
            )
        self._asking.add(host)
        try:
            yield
        finally:
            self._asking.discard(host)

    async def _outline(self, each: BlobRange) -> Outline:
        kept = self._kept.get(each)
        if kept is not None:
            self._kept.move_to_end(each)
            return kept
        # One chunk each time: another host's request goes on in between.
        cut = await trio.to_thread.run_sync(self._cut, each, limiter=self._limiter)
        self._keep(each, cut)
        return cut

    def _cut(self, each: BlobRange) -> Outline:
        return outline_of(self._store.read(*each))

    def _keep(self, each: BlobRange, outline: Outline) -> None:
        if each in self._kept:  # two hosts asked at once
            return
        self._kept[each] = outline
        self._kept_parts += len(outline.sizes_bytes)
        while self._kept_parts > PARTS_KEPT_MAX:
            _, dropped = self._kept.popitem(last=False)
            self._kept_parts -= len(dropped.sizes_bytes)
