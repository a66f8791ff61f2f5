"""The table of who may do what."""

from __future__ import annotations

import pytest

from p2pdeploy.errors import TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.access import Permission
from p2pdeploy.trust.identity import ControlPlaneId, HostId, OperatorId
from p2pdeploy.trust.tls import Peer
from p2ptracker.api.authorise import (
    OPEN_TO_ALL,
    PERMISSIONS,
    ForbiddenError,
    require,
    require_host,
    roles_with,
)

H1 = Peer(identity=HostId("lab", "prod", "web", HostName("h1")))
CONTROL_PLANE = Peer(identity=ControlPlaneId("lab"), roles=("admin",))


def ann(*roles: str) -> Peer:
    return Peer(identity=OperatorId("lab", "ann"), roles=roles)


def granted(peer: Peer | None, service: str = "web") -> set[Permission]:
    found: set[Permission] = set()
    for permission in PERMISSIONS - OPEN_TO_ALL:
        try:
            require(peer, permission, {"service": service})
        except (ForbiddenError, TrustError):
            continue
        found.add(permission)
    return found


@pytest.mark.parametrize(
    ("peer", "permissions"),
    [
        (None, set()),
        (ann(), set()),
        (ann("viewer"), {"view", "member", "operator"}),
        (ann("publisher:web"), {"view", "member", "operator", "publish"}),
        (ann("publisher:*"), {"view", "member", "operator", "publish"}),
        (ann("publisher:api"), {"view", "member", "operator"}),
        (ann("publisher:we", "publisher:webs"), {"view", "member", "operator"}),
        (ann("rollout-owner"), {"view", "member", "operator", "rollout"}),
        (ann("admin"), {"view", "member", "operator", "publish", "rollout", "admin"}),
        (ann("publisher:", "root", "Admin", "host", "anybody", "viewer:all"), set()),
        (H1, {"host", "member"}),
        (Peer(identity=H1.identity, roles=("admin",)), {"host", "member"}),
        (CONTROL_PLANE, set()),
    ],
)
def test_each_role_grants_what_the_table_says_and_no_more(
    peer: Peer | None, permissions: set[Permission]
) -> None:
    assert granted(peer) == permissions


def test_nobody_is_asked_for_a_certificate_where_the_body_proves_it() -> None:
    for permission in OPEN_TO_ALL:
        require(None, permission, {})
        assert roles_with(permission) == ("anybody",)


def test_a_service_called_like_the_wildcard_or_empty_is_nobodys() -> None:
    assert granted(ann("publisher:web"), service="*") == {"view", "member", "operator"}
    assert granted(ann("publisher:"), service="") == set()


def test_a_refusal_says_which_role_would_do() -> None:
    with pytest.raises(ForbiddenError, match="spiffe://lab/operator/ann") as refusal:
        require(ann("viewer"), "publish", {"service": "web"})
    assert refusal.value.hint == "it needs the role publisher:web or publisher:* or admin"
    assert refusal.value.http_status == 403
    with pytest.raises(TrustError) as refusal:
        require(None, "view", {})
    assert refusal.value.code == "no-certificate"


def test_h1_speaks_for_h1_alone() -> None:
    assert require_host(H1, "h1") == H1.identity
    for peer, host in ((H1, "h2"), (H1, ""), (None, "h1"), (ann("admin"), "ann"), (ann(), "h1")):
        with pytest.raises(ForbiddenError):
            require_host(peer, host)
