"""The newest rate limits that this host was told, on its disk as well.

They come by gossip, verified there.  A host that starts while it is cut off keeps to what it kept
to before: the envelope lies in the state folder, and is judged again when it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio

from p2pdaemon.journal import write_durably
from p2pdaemon.log import get_logger
from p2pdeploy.errors import P2PDeployError
from p2pdeploy.gossip.effects import ItemMerged, ItemsDropped, Notice
from p2pdeploy.gossip.state import RATE_LIMITS_KEY
from p2pdeploy.ids import CellId
from p2pdeploy.limits import ENVELOPE_BYTES_MAX
from p2pdeploy.messages.rates import RateLimits

__all__ = ["KnownRateLimits"]

RETRY_S = 10.0  # a full disk may have room again by then

_log = get_logger("rates")
_files = trio.CapacityLimiter(1)


class KnownRateLimits:
    """What is in force; at first nothing.

    Args:
        cell: Ours.
        path: Where the newest is kept.
        publish: Gives an envelope to gossip, which verifies it; :meth:`hear` has it then.
    """

    def __init__(self, cell: CellId, path: Path, publish: Callable[[bytes], object]) -> None:
        self.newest = RateLimits(cell=cell, limits_seq=0)
        self.changed = trio.Event()  # another one with each change
        self._path, self._publish = path, publish
        self._envelope = self._kept = b""

    def __repr__(self) -> str:
        return f"<KnownRateLimits {self.newest.limits_seq}>"

    def restore(self) -> None:
        """Take what was kept; what is damaged, or believed no more, is learnt anew.  Blocking."""
        try:
            with self._path.open("rb") as file:
                envelope = file.read(ENVELOPE_BYTES_MAX)
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("kept rate limits cannot be read", reason=error.strerror)
            return
        try:
            self._publish(envelope)
        except P2PDeployError as error:
            _log.warning("kept rate limits are not usable", reason=str(error))
        else:
            self._kept = envelope

    def hear(self, notice: Notice) -> None:
        """Take a word of the cell; called by gossip, which has verified it, and never waits."""
        if isinstance(notice, ItemMerged) and isinstance(notice.message, RateLimits):
            self._use(notice.message, notice.item.envelope)
        elif isinstance(notice, ItemsDropped) and RATE_LIMITS_KEY in notice.keys:
            # Whose key signed them is not believed any more.
            self._use(RateLimits(cell=self.newest.cell, limits_seq=0), b"")

    def _use(self, limits: RateLimits, envelope: bytes) -> None:
        self.newest, self._envelope = limits, envelope
        self.changed.set()
        self.changed = trio.Event()
        _log.info("rate limits", limits_seq=limits.limits_seq)

    async def keep_on_disk(self) -> None:
        """Task: write the newest to the disk, for ever; a disk that refuses is tried again."""
        while True:
            changed = self.changed
            is_kept = await self._keep()
            with trio.move_on_after(float("inf") if is_kept else RETRY_S):
                await changed.wait()

    async def _keep(self) -> bool:
        """Whether the newest lies on the disk now."""
        envelope = self._envelope
        if envelope in (b"", self._kept):
            return True
        try:
            await trio.to_thread.run_sync(write_durably, self._path, envelope, limiter=_files)
        except P2PDeployError as error:
            _log.warning("rate limits not kept", reason=str(error))
            return False
        self._kept = envelope
        return True
