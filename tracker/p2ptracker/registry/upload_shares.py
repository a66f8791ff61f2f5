"""Whose unfinished uploads those are, and which of them give way to a new one.

They are bounded for each publisher and in all: whoever begins more and more loses its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from p2pdeploy.errors import UnavailableError
from p2pdeploy.messages.upload import PUBLISH_BYTES_MAX
from p2pdeploy.trust.identity import identity_of, spiffe_id
from p2pdeploy.trust.tls import Peer

__all__ = ["Lying", "Owner", "has_lapsed", "owner_of", "who_gives_way"]

UPLOADS_MAX = 64  # unfinished releases on disk; each is bounded by its own manifest
UPLOADS_OF_ONE_MAX = 16  # a CI job's name publishes many services at once
# Of manifests and chunk indexes, which are kept in memory as long as the upload is open.
INDEX_OF_ONE_BYTES_MAX = PUBLISH_BYTES_MAX
UPLOAD_LIFETIME_S = 7 * 24 * 3600.0  # nobody resumes a publish of last week
IDLE_S = 120.0  # a sender that is silent for 60 s was cut off; it had as long again to come back


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Who began an upload: the identity, and the serial number of its certificate."""

    who: str
    serial: str

    def peer(self) -> Peer:
        """As what :meth:`Standing.is_revoked` judges."""
        return Peer(identity=identity_of(self.who), serial=self.serial)


class Lying(msgspec.Struct, frozen=True, kw_only=True):
    """An unfinished upload as it lies on disk.

    ``owner`` is None when a kill came before it was noted; ``index_bytes`` are those of manifest
    and chunk index; ``heard_at`` is when a chunk last arrived or it was last begun; nobody may
    drop one that ``is_busy``.
    """

    folder: Path
    owner: Owner | None
    index_bytes: int
    heard_at: float
    is_busy: bool = False


def owner_of(peer: Peer) -> Owner:
    """The owner of what *peer* begins."""
    return Owner(who=spiffe_id(peer.identity), serial=peer.serial)


def has_lapsed(lying: Lying, now: float) -> bool:
    """Whether nobody will come back for it."""
    return lying.heard_at < now - UPLOAD_LIFETIME_S


def who_gives_way(
    others: Sequence[Lying], owner: Owner, index_bytes: int, now: float
) -> list[Lying]:
    """Which of *others* are dropped so that *owner* may begin one more.

    Args:
        others: What lies there besides.
        owner: Of the new one.
        index_bytes: Of the new one.
        now: Seconds since the epoch.

    Raises:
        UnavailableError: there is no room, and nothing of its own that it has left alone
            (``too-many-uploads``); nothing is dropped.
    """
    own = [each for each in others if each.owner is not None and each.owner.who == owner.who]
    own.sort(key=lambda each: each.heard_at)
    dropped = list[Lying]()
    idle = [each for each in own if not each.is_busy and each.heard_at < now - IDLE_S]
    while len(own) >= UPLOADS_OF_ONE_MAX or _index_bytes(own, index_bytes) > INDEX_OF_ONE_BYTES_MAX:
        if not idle:
            raise UnavailableError(
                f"{owner.who} has {len(own)} uploads that are unfinished",
                hint="finish one; those left alone for two minutes give way to others",
                code="too-many-uploads",
            )
        dropped.append(idle.pop(0))
        own.remove(dropped[-1])
    if len(others) - len(dropped) >= UPLOADS_MAX:
        raise UnavailableError(
            f"{UPLOADS_MAX} uploads are unfinished",
            hint="finish or wait for one; unfinished ones are dropped after a week",
            code="too-many-uploads",
        )
    return dropped


def _index_bytes(own: Sequence[Lying], more_bytes: int) -> int:
    return sum(each.index_bytes for each in own) + more_bytes
