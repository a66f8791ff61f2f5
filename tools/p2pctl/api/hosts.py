"""Hosts: which there are, what they run, what their services wrote."""

from __future__ import annotations

from p2pctl.api.calls import Calls, api_path
from p2pdeploy.messages.api import HostView, LogsView, VersionsView, WhereRow

__all__ = ["HostCalls"]


class HostCalls(Calls):
    """What the API tells of hosts and of the versions on them."""

    def hosts(
        self, *, filters: tuple[str, ...] = (), limit: int | None = None, after: str = ""
    ) -> list[HostView]:
        """A page of hosts by name.  *filters* are ``key=glob``; a bare glob is of the name."""
        return self._wire.get(
            api_path("hosts"),
            list[HostView],
            filter=list(filters) or None,
            limit=limit,
            after=after or None,
        )

    def versions(self, service: str) -> VersionsView:
        """How many hosts run which version of *service*."""
        return self._wire.get(api_path("fleet", service, "versions"), VersionsView)

    def where(self, service: str, version: str) -> list[WhereRow]:
        """The hosts that run *version* of *service*."""
        return self._wire.get(api_path("fleet", service, "where", version=version), list[WhereRow])

    def logs(self, host: str, service: str, *, lines: int) -> LogsView:
        """The last *lines* of what *service* wrote on *host*."""
        return self._wire.get(
            api_path("hosts", host, "services", service, "logs"), LogsView, lines=lines
        )
