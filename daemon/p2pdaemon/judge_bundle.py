"""What this host remembers of release metadata, and what a bundle says of the keys of orders.

Shared by the running daemon (:mod:`p2pdaemon.verify_release`), which judges releases besides, by
joining and by the short process that renews.  Blocking.
"""

from __future__ import annotations

import datetime as dt
import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from p2pdeploy.trust.bundle import KnownOrders
from p2pdeploy.trust.keyring import OrderKeys
from p2pdeploy.trust.private_files import read_private
from p2pdeploy.trust.releases.seen import Seen
from p2pdeploy.trust.releases.verify import verify_order_keys

__all__ = ["SEEN_FILE", "alone_with", "judge_orders", "load_seen"]

SEEN_FILE = "release-seen"
"""In the host's state folder: what it remembers, a ``p2pdeploy.trust.releases.seen.Seen``."""

_HINT = "if it can't be restored, join again: 'p2pdaemon join --again TOKEN'"


def load_seen(path: Path, root: bytes) -> Seen:
    """What this host remembers; *root* and nothing else when it has seen nothing.

    Raises:
        ConfigError: others can read the memory.
        TrustError: it is damaged.
    """
    if not path.exists():
        return Seen(root=root)
    return Seen.from_bytes(read_private(path, hint=_HINT))


@contextmanager
def alone_with(path: Path) -> Generator[None]:
    """Let nobody else judge by the memory at *path* meanwhile; waits for its turn.

    A renewal and the daemon's own judge are two processes, and the one that reads first must
    not write last.
    """
    with path.with_name(f"{path.name}.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def judge_orders(bundle: bytes, seen: Seen, fleet: str) -> tuple[KnownOrders, Seen]:
    """Who signs orders of *fleet*, and what to remember before anything is done about it.

    Args:
        bundle: Signed metadata, from anywhere.
        seen: What this host remembers.
        fleet: Ours.

    Raises:
        TrustError: refused; the code names the attack.
    """
    verified = verify_order_keys(bundle, seen, now=dt.datetime.now(dt.UTC))
    known = KnownOrders(
        targets_version=verified.seen.roles["targets"].version,
        orders=OrderKeys(fleet, verified.order_keys),
    )
    return known, verified.seen
