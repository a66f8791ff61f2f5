"""Ask every host's service itself for its version: what the fleet reports is checked."""

from __future__ import annotations

from collections.abc import Sequence

import httpx2

from p2pdeploy.ids import HostName, ServiceName
from p2pdeploy.messages.api import HostView

__all__ = ["NO_ANSWER", "ask_versions", "reported_versions"]

NO_ANSWER = "no answer"
_TIMEOUT_S = 5.0
_VERSION_CHARS_MAX = 128


def ask_versions(hosts: Sequence[HostView], service: ServiceName) -> dict[HostName, str]:
    """What ``GET /version`` answers on every host; ``no answer`` where nothing does."""
    transport = httpx2.HTTPTransport(trust_env=False)
    with httpx2.Client(timeout=_TIMEOUT_S, trust_env=False, transport=transport) as http:
        return {host.name: _ask(http, _address(host, service)) for host in hosts}


def reported_versions(hosts: Sequence[HostView], service: ServiceName) -> dict[HostName, str]:
    """The healthy version that the fleet reports for every host; else the state it reports."""
    found: dict[HostName, str] = {}
    for host in hosts:
        views = [view for view in host.services if view.service == service]
        if not views:
            found[host.name] = "absent"
        else:
            found[host.name] = views[0].version if views[0].state == "healthy" else views[0].state
    return found


def _address(host: HostView, service: ServiceName) -> str:
    return next((view.address for view in host.services if view.service == service), "")


def _ask(http: httpx2.Client, address: str) -> str:
    if not address:
        return NO_ANSWER
    try:
        response = http.get(f"http://{address}/version")
    except httpx2.RequestError:
        return NO_ANSWER
    text = response.text.strip()[:_VERSION_CHARS_MAX]
    return text if response.is_success else f"HTTP {response.status_code}"
