"""Bring the chunk index of each staged release onto the disk, once nothing waits for it.

A chunk index is about as large as the manifest, every host gets it from the origin, and it is of
use only beside another release.  So a host's first release is staged without, and its index comes
afterwards: the next release then finds what is here, and whether the control plane is up.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio

from p2pdaemon.isolate import isolated
from p2pdaemon.release_parts import ReleaseParts, disk_hop
from p2pdaemon.store import ReleaseStore
from p2pdeploy.ids import Digest

__all__ = ["IndexKeeper"]

# All hosts of a cell are staged at about the same moment, and the origin may have others to serve.
FIRST_S = 5.0
RETRY_MAX_S = 3600.0  # a release that the registry has forgotten has no index any more


class IndexKeeper:
    """See the module.

    Args:
        store: Where releases lie.
        parts: Fetches indexes.
        using: Keeps a release's folder while inside.
        rng: Spreads hosts.
    """

    def __init__(
        self,
        store: ReleaseStore,
        parts: ReleaseParts,
        using: Callable[[Digest], AbstractAsyncContextManager[None]],
        rng: random.Random,
    ) -> None:
        self._store = store
        self._parts = parts
        self._using = using
        self._rng = rng
        self._lacking = trio.Event()
        self._lacking.set()  # what an earlier daemon left

    def __repr__(self) -> str:
        return f"<IndexKeeper {self._store!r}>"

    def note_staged(self) -> None:
        """A release was staged without its index."""
        self._lacking.set()

    async def keep_indexes(self) -> None:
        """Fetch what lacks, and again whenever a release was staged without; never returns."""
        while True:
            await self._lacking.wait()
            self._lacking = trio.Event()
            pause_s = FIRST_S
            while True:
                await trio.sleep(pause_s * self._rng.uniform(0.5, 1.5))
                if await self.fetch_lacking():
                    break
                pause_s = min(2 * pause_s, RETRY_MAX_S)

    async def fetch_lacking(self) -> bool:
        """Fetch the index of each staged release that has none; whether all have one now."""
        complete = True
        for digest in await disk_hop(self._store.without_chunk_index):
            error = await isolated(f"chunk index {digest}", partial(self._fetch, digest))
            complete = complete and error is None
        return complete

    async def _fetch(self, digest: Digest) -> None:
        async with self._using(digest):
            manifest = await disk_hop(self._store.read_manifest, digest)
            if manifest is not None:  # else it was deleted meanwhile
                await self._parts.chunk_index(digest, manifest)
