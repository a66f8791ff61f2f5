"""Rate limits: set, cleared, seen."""

from __future__ import annotations

import msgspec

from p2pctl.api.calls import Calls, api_path
from p2pdeploy.messages.limits import HostLimitsView, LimitRequest, LimitTarget, LimitView

__all__ = ["LimitCalls"]


class LimitCalls(Calls):
    """What the API does with rate limits."""

    def limits(self) -> list[LimitView]:
        """Every limit that is set."""
        return self._wire.get(api_path("limits"), list[LimitView])

    def host_limits(self, host: str) -> HostLimitsView:
        """What is set for *host*, and what it keeps to.  Raises NotFoundError."""
        return self._wire.get(api_path("hosts", host, "limits"), HostLimitsView)

    def set_limit(self, request: LimitRequest) -> LimitView:
        """Set a limit.  Raises RefusedError ``unknown-target``."""
        return self._wire.post(api_path("limits"), LimitView, document=msgspec.to_builtins(request))

    def clear_limit(self, target: LimitTarget) -> LimitView:
        """Take a limit back.  Raises NotFoundError ``no-limit``."""
        return self._wire.post(
            api_path("limits", "clear"), LimitView, document=msgspec.to_builtins(target)
        )
