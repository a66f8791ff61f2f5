"""Prefetches: ask for one, see how far it is, end it."""

from __future__ import annotations

from p2pctl.api.calls import Calls, api_path
from p2pdeploy.messages.prefetch import PrefetchRequest, PrefetchView

__all__ = ["PrefetchCalls"]


class PrefetchCalls(Calls):
    """What the API does with bytes ahead of a rollout."""

    def begin_prefetch(self, request: PrefetchRequest) -> PrefetchView:
        """Bring a release to hosts; returns as soon as it is accepted."""
        return self._wire.post(api_path("prefetches"), PrefetchView, document=request)

    def prefetches(self, service: str = "") -> list[PrefetchView]:
        """What is prefetched, of one service or of all; without hosts."""
        return self._wire.get(api_path("prefetches"), list[PrefetchView], service=service or None)

    def prefetch(self, service: str, version: str) -> PrefetchView:
        """One build with its hosts.  Raises NotFoundError."""
        return self._wire.get(api_path("prefetches", service, version), PrefetchView)

    def cancel_prefetch(self, service: str, version: str) -> PrefetchView:
        """End one; returns how far it was.  Raises NotFoundError."""
        return self._wire.post(api_path("prefetches", service, version, "cancel"), PrefetchView)
