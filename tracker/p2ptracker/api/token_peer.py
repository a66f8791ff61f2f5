"""Until connections are TLS: the fleet's token stands for an admin, and for the hosts."""

from __future__ import annotations

import math
import re

from p2pdeploy.ids import HostName
from p2pdeploy.trust.identity import HostId, OperatorId
from p2pdeploy.trust.secret import token_matches
from p2pdeploy.trust.tls import Peer
from p2ptracker.api.unread_body import Application, Receive, Scope, Send

__all__ = ["by_token"]

_OF_HOSTS = re.compile(r"/v1/(deal|cells/[^/]*/sync)\Z")


def by_token(application: Application, token: str, fleet: str) -> Application:
    """Put a peer into the state of requests with the right ``Authorization: Bearer``."""

    async def identify(scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.setdefault("state", {})
        sent = [value for name, value in scope.get("headers", ()) if name == b"authorization"]
        scheme, _, credential = (sent[0] if len(sent) == 1 else b"").partition(b" ")
        if scheme.lower() == b"bearer" and token_matches(credential.decode("latin-1"), token):
            is_host = _OF_HOSTS.match(scope["path"]) is not None
            host = HostId(fleet, "", "", HostName(""))
            admin = OperatorId(fleet, "token")
            state["peer"] = Peer(identity=host if is_host else admin, roles=("admin",))
            state["valid_until"] = math.inf
        await application(scope, receive, send)

    return identify
