"""The roles there are.  They stand in an operator's certificate, as O attributes of its subject."""

from __future__ import annotations

from collections.abc import Sequence

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import check_service

__all__ = ["ADMIN", "PUBLISHER", "ROLLOUT_OWNER", "VIEWER", "check_roles", "is_role"]

VIEWER, ROLLOUT_OWNER, ADMIN = "viewer", "rollout-owner", "admin"
PUBLISHER = "publisher:"  # and a service, or * for all of them

_HINT = f"roles are {VIEWER}, {PUBLISHER}SERVICE, {PUBLISHER}*, {ROLLOUT_OWNER} and {ADMIN}"


def is_role(role: str) -> bool:
    """Whether a certificate's *role* grants anything."""
    is_publisher = role.startswith(PUBLISHER) and role != PUBLISHER
    return is_publisher or role in (VIEWER, ROLLOUT_OWNER, ADMIN)


def check_roles(roles: Sequence[str]) -> tuple[str, ...]:
    """Return *roles*, each once, or raise RefusedError for one that there is not."""
    if not roles:
        raise RefusedError("an operator without a role may do nothing", hint=_HINT, code="no-role")
    for role in roles:
        if not _may_be_given(role):
            raise RefusedError(f"there is no role {role!r}", hint=_HINT, code="unknown-role")
    return tuple(dict.fromkeys(roles))


def _may_be_given(role: str) -> bool:
    service = role.removeprefix(PUBLISHER)
    if service == role or service == "*":
        return is_role(role)
    try:
        check_service(service)
    except RefusedError:
        return False
    return True
