"""The audit log: what people had the control plane do, each entry chained to the one before.

A call that may change something leaves two entries: ``begun`` before it acts, ``done`` with the
outcome before its answer leaves.  A crash in between leaves a ``begun`` alone, which says that
the outcome is not known.  A call that was refused leaves one, ``refused``.

An entry's digest is BLAKE3 over its msgpack encoding, which holds the digest of the entry before.
Fields that have their default are left out of it, so a field that comes later changes no old
entry.  Whoever can write the whole log can chain it anew; against that, keep a digest elsewhere
and name it to :func:`follow_chain`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from p2pdeploy.codec import encode
from p2pdeploy.errors import IntegrityError
from p2pdeploy.ids import Digest
from p2pdeploy.manifest import digest_of

__all__ = ["NOTHING_BEFORE", "AuditEntry", "ChainEnd", "chained", "follow_chain"]

NOTHING_BEFORE = Digest("0" * 64)
"""What the first entry has for the digest before it."""


class AuditEntry(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One line of the log.

    ``who`` is a SPIFFE id and ``serial`` its certificate's; ``of`` is the number of the ``begun``
    that a ``done`` belongs to.  ``parameters`` is the body itself when that is short JSON and no
    secret; ``body_digest`` (BLAKE3) covers it in any case.  ``code`` is the error's, if any.
    """

    seq: int
    at: datetime
    step: Literal["begun", "done", "refused"]
    who: str
    serial: str = ""
    method: str
    path: str
    query: str = ""
    of: int = 0
    status: Annotated[int, msgspec.Meta(ge=0, le=599)] = 0
    code: str = ""
    body_bytes: int = 0
    body_digest: str = ""
    parameters: str = ""
    previous: Digest
    digest: Digest = Digest("")


class ChainEnd(msgspec.Struct, frozen=True, kw_only=True):
    """Where a chain stands.  ``unfinished``: calls that began and whose outcome is not known."""

    seq: int = 0
    digest: Digest = NOTHING_BEFORE
    unfinished: int = 0


def chained(entry: AuditEntry, last: ChainEnd) -> AuditEntry:
    """*entry* as the one behind *last*, with number and digest."""
    placed = msgspec.structs.replace(entry, seq=last.seq + 1, previous=last.digest)
    return msgspec.structs.replace(placed, digest=_digest_of(placed))


def follow_chain(entries: Iterable[AuditEntry], *, head: str = "") -> ChainEnd:
    """Recompute the whole chain.

    Args:
        entries: From the first on, in order.
        head: The digest of an entry that was noted before; empty: none was.

    Returns:
        The end of the chain, worth noting for the next time.

    Raises:
        IntegrityError: an entry was changed, removed, put in or moved, or the entry with the
            digest *head* is not there: somebody cut the log or wrote it anew.
    """
    end, saw_head = ChainEnd(), not head or head == NOTHING_BEFORE
    for entry in entries:
        _check_place(entry, end)
        waiting = end.unfinished + {"begun": 1, "done": -1 if entry.of else 0}.get(entry.step, 0)
        end = ChainEnd(seq=entry.seq, digest=entry.digest, unfinished=waiting)
        saw_head = saw_head or entry.digest == head
    if not saw_head:
        raise IntegrityError(
            f"no entry up to {end.seq} has the digest that was noted",
            where=head,
            hint="the log was cut behind it, or written anew",
            code="audit-truncated",
        )
    return end


def _check_place(entry: AuditEntry, end: ChainEnd) -> None:
    where = f"entry {entry.seq}"
    if entry.digest != _digest_of(entry):
        raise IntegrityError("the entry was changed", where=where, code="audit-changed")
    if entry.seq > end.seq + 1:
        raise IntegrityError(
            f"entry {end.seq + 1} is missing before it", where=where, code="audit-removed"
        )
    if entry.seq <= end.seq:
        raise IntegrityError(
            f"it stands behind entry {end.seq}", where=where, code="audit-reordered"
        )
    if entry.previous != end.digest:
        raise IntegrityError(
            "it does not follow the entry before it; one of the two was put in",
            where=where,
            code="audit-inserted",
        )


def _digest_of(entry: AuditEntry) -> Digest:
    return digest_of(encode(msgspec.structs.replace(entry, digest=Digest(""))))
