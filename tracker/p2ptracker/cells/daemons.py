"""Where the daemons of the fleet answer."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from p2pdeploy.errors import NotFoundError, UnavailableError
from p2pdeploy.host_client import HostAddress, ask_why
from p2pdeploy.ids import HostName, ServiceName
from p2pdeploy.messages.host import Why, WhyRequest
from p2pdeploy.topology import Host
from p2pdeploy.trust.tls import IdentityFiles

__all__ = ["Daemons"]

WHY_TIMEOUT_S = 2.0  # somebody waits, and what the control plane knows is an answer as well


class Daemons:
    """Asks hosts of the inventory.

    Args:
        inventory: Every host.
        identity: What the control plane presents.
        source: The address we ask from.
    """

    def __init__(self, inventory: Sequence[Host], identity: IdentityFiles, source: str) -> None:
        self._hosts = {host.name: host for host in inventory}
        self._identity = identity
        self._source = source

    def __repr__(self) -> str:
        return f"<Daemons {len(self._hosts)}>"

    def learn(self, host: Host) -> None:
        """Take in a new host of the inventory."""
        self._hosts[host.name] = host

    def address_of(self, name: str) -> HostAddress:
        """Where the daemon of *name* answers; raises NotFoundError."""
        host = self._hosts.get(HostName(name))
        if host is None:
            raise NotFoundError(
                f"the inventory has no host {name!r}", hint="see 'p2pctl hosts'", code="no-host"
            )
        return HostAddress(
            host.name, host.address, host.host_port, identity=self._identity, source=self._source
        )

    async def why(self, name: str, service: ServiceName) -> Why:
        """What holds *service* there, by the daemon's own word.

        Raises:
            NotFoundError: the inventory has no such host, or it never had the service.
            UnavailableError: no answer in time.
            RefusedError, TrustError, ProtocolError: as ``ask_why`` does.
        """
        with trio.move_on_after(WHY_TIMEOUT_S):
            return await ask_why(self.address_of(name), WhyRequest(service=service))
        raise UnavailableError(f"no answer within {WHY_TIMEOUT_S:g} s", where=name)
