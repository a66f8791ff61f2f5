"""The API without sockets: every request comes from whom the test says."""

from __future__ import annotations

import math
from typing import Any, cast

import httpx2

from p2pdeploy.ids import HostName
from p2pdeploy.trust.identity import ControlPlaneId, HostId, OperatorId
from p2pdeploy.trust.tls import Peer
from p2ptracker.api.app import make_app
from p2ptracker.api.body_room import bound_bodies
from p2ptracker.api.guard import Guard
from p2ptracker.api.unread_body import Application, finish_bodies
from p2ptracker.audit.calls import audited
from p2ptracker.audit.log import AuditLog
from tests.p2ptracker.rollout_bench import World

FLEET = "lab"
OWN = "127.0.0.1:7900"


def operator(*roles: str, name: str = "ann", fleet: str = FLEET) -> Peer:
    return Peer(identity=OperatorId(fleet, name), roles=roles, serial="A1")


def host(name: str, fleet: str = FLEET) -> Peer:
    return Peer(identity=HostId(fleet, "lab", "web", HostName(name)), serial="B2")


CONTROL_PLANE = Peer(identity=ControlPlaneId(FLEET), serial="C3")


class Callers:
    """The application of *world*, guarded and audited as the server does."""

    def __init__(self, world: World, audit: AuditLog) -> None:
        self.audit = audit
        self.revoked: set[str] = set()
        self.valid_until = math.inf
        self.routes = make_app(world.plane, audit, world.desk)
        guard = Guard(
            self.routes,
            finish_bodies(bound_bodies(cast(Application, self.routes))),
            fleet=FLEET,
            own_host=lambda: OWN,
            is_revoked=lambda peer: peer.serial in self.revoked,
            refusals=world.plane.metrics.refusals,
        )
        self._application = audited(guard, audit)

    def of(self, peer: Peer | None) -> httpx2.AsyncClient:
        """A client whose connection belongs to *peer*."""

        async def connected(scope: dict[str, Any], receive: Any, send: Any) -> None:
            known = {"peer": peer, "valid_until": self.valid_until} if peer else {}
            await self._application({**scope, "state": known}, receive, send)

        transport = httpx2.ASGITransport(app=cast(Any, connected))
        return httpx2.AsyncClient(transport=transport, base_url=f"https://{OWN}")
