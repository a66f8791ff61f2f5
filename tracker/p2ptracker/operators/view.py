"""A certificate on record, as people see it."""

from __future__ import annotations

from datetime import UTC, datetime

from p2pdeploy.messages.operators import OperatorView
from p2ptracker.operators.rules import Issued

__all__ = ["operator_view"]


def operator_view(issued: Issued, now: float) -> OperatorView:
    """*issued* as it stands at *now*."""
    ended = "revoked" if issued.revoked_at is not None else "expired"
    return OperatorView(
        name=issued.name,
        roles=issued.roles,
        serial=issued.serial,
        state="valid" if issued.is_valid(now) else ended,
        issued_at=_moment(issued.issued_at),
        expires_at=_moment(issued.expires_at),
        issued_by=issued.issued_by,
        renewed_from=issued.renewed_from,
        revoked_at=None if issued.revoked_at is None else _moment(issued.revoked_at),
        reason=issued.reason,
    )


def _moment(at: float) -> datetime:
    """Seconds since the epoch, to the second, with a zone."""
    return datetime.fromtimestamp(round(at), UTC)
