"""What the API shows of a host, as it comes to what p2pctl draws and tells."""

from __future__ import annotations

from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.messages.api import HostView, ServiceView

__all__ = ["a_host"]


def a_host(*services: ServiceView, name: str = "h1", address: str = "127.0.0.1") -> HostView:
    """A host that is alive and has *services*."""
    return HostView(
        name=HostName(name),
        address=address,
        environment="lab",
        machine_function="web",
        cell=CellId("lab.web.c0"),
        fault_domain=FaultDomain("fd0"),
        alive=True,
        services=list(services),
    )
