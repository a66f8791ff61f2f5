"""Who may call what: the one place that says so.

Every route declares ``opt={"permission": ...}`` (:mod:`p2pdeploy.messages.access` says what each
demands), and :func:`require` judges every call by it.  Roles stand in an operator's certificate.
A host has no role: it may do what hosts do, for itself.  The control plane's own identity may do
nothing here: nobody but the control plane holds it, and that doesn't call itself.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, get_args

from p2pdeploy.errors import RefusedError, TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.access import Permission
from p2pdeploy.trust.identity import HostId, OperatorId, spiffe_id
from p2pdeploy.trust.operator_roles import ADMIN, PUBLISHER, ROLLOUT_OWNER, VIEWER, is_role
from p2pdeploy.trust.tls import Peer

__all__ = [
    "OPEN_TO_ALL",
    "PERMISSIONS",
    "ForbiddenError",
    "may_upload",
    "may_upload_something",
    "peer_in",
    "require",
    "require_host",
    "require_member",
    "roles_with",
]

PERMISSIONS: frozenset[Permission] = frozenset(get_args(Permission))
OPEN_TO_ALL: frozenset[Permission] = frozenset({"open", "enrol", "renew"})
"""Granted without a certificate; what the body must prove is its handler's business."""

_ANY_PUBLISHER = PUBLISHER + "*"
_NAME_CHARS_SHOWN = 63  # the longest name there is; a path may hold anything


class ForbiddenError(RefusedError):
    """Known or not: the caller may not do this."""

    code = "forbidden"
    http_status = 403


def roles_with(permission: Permission, service: str = "SERVICE") -> tuple[str, ...]:
    """The roles that grant *permission*; ``anybody`` and ``host`` stand for who needs none."""
    publishers = (PUBLISHER + service, _ANY_PUBLISHER)
    viewers = (VIEWER, *publishers, ROLLOUT_OWNER, ADMIN)
    match permission:
        case "open" | "enrol" | "renew":
            return ("anybody",)
        case "host":
            return ("host",)
        case "member":
            return ("host", *viewers)
        case "view" | "operator":
            return viewers
        case "publish":
            return (*publishers, ADMIN)
        case "rollout":
            return (ROLLOUT_OWNER, ADMIN)
        case "admin":
            return (ADMIN,)


def require(
    peer: Peer | None, permission: Permission, path_parameters: Mapping[str, object]
) -> None:
    """Return if *peer* may call a route.

    Args:
        peer: Who calls; None without a certificate.
        permission: What the route demands.
        path_parameters: The route's; a publisher's role is for the ``service`` in it.

    Raises:
        TrustError: a certificate is needed and there is none.
        ForbiddenError: the caller may not; says which role would be needed.
    """
    if permission in OPEN_TO_ALL:
        return
    if peer is None:
        raise TrustError("this needs a client certificate of the fleet", code="no-certificate")
    if not _may(peer, permission, str(path_parameters.get("service", ""))):
        service = str(path_parameters.get("service", "SERVICE"))[:_NAME_CHARS_SHOWN]
        wanted = " or ".join(roles_with(permission, service))
        raise ForbiddenError(
            f"{spiffe_id(peer.identity)} may not do this ({permission})",
            hint=f"it needs the role {wanted}" if wanted != "host" else "only hosts call this",
        )


def may_upload(peer: Peer, service: str) -> bool:
    """Whether *peer* may send chunks for releases of *service*."""
    return _may(peer, "publish", service)


def may_upload_something(peer: Peer) -> bool:
    """Whether there may be a service that *peer* sends chunks for."""
    is_person = isinstance(peer.identity, OperatorId)
    return is_person and any(role == ADMIN or role.startswith(PUBLISHER) for role in peer.roles)


def _may(peer: Peer, permission: Permission, service: str) -> bool:
    match peer.identity:
        case HostId():
            return permission in ("host", "member")
        case OperatorId():
            roles = {role for role in peer.roles if is_role(role)}
            if permission in ("view", "member", "operator"):
                return bool(roles)
            return not roles.isdisjoint(roles_with(permission, service))
        case _:
            return False


def peer_in(scope: Mapping[str, Any]) -> Peer | None:
    """Who calls, as the connection's certificate says; None without one."""
    return scope["state"].get("peer")


def require_member(identity: HostId, hosts: Container[HostName]) -> None:
    """Let a host see the cell with *hosts* only if it is one of them; raises ForbiddenError."""
    if identity.host not in hosts:
        raise ForbiddenError(f"{spiffe_id(identity)} is not in this cell", code="not-your-cell")


def require_host(peer: Peer | None, host: str) -> HostId:
    """The identity of *peer*, which must be host *host*: none speaks for another.

    Raises:
        ForbiddenError: it is somebody else.
    """
    identity = peer.identity if peer is not None else None
    if not isinstance(identity, HostId) or identity.host != host:
        who = spiffe_id(identity) if identity is not None else "nobody known"
        raise ForbiddenError(
            f"{who} may not speak for host {host[:_NAME_CHARS_SHOWN]!r}", code="not-your-host"
        )
    return identity
