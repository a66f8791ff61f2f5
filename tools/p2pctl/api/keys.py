"""Signing keys of the fleet: how they stand, and their rotation."""

from __future__ import annotations

import msgspec

from p2pctl.api.calls import Calls, api_path
from p2pdeploy.messages.keys import KeyView, RenewalRequest, RotationAnswer, RotationRequest

__all__ = ["KeyCalls"]


class KeyCalls(Calls):
    """What the API does with signing keys."""

    def keys(self) -> list[KeyView]:
        """How every key stands."""
        return self._wire.get(api_path("keys"), list[KeyView])

    def rotate_key(self, role: str, request: RotationRequest) -> RotationAnswer:
        """Make the next step of a rotation, or be told what must be signed for it."""
        return self._wire.post(
            api_path("keys", role, "rotation"),
            RotationAnswer,
            document=msgspec.to_builtins(request),
        )

    def renew_document(
        self, what: str, request: RenewalRequest, *, is_role: bool
    ) -> RotationAnswer:
        """Have the document of a role or a service signed again, or be told what must be signed."""
        path = api_path("keys", what, "renewal") if is_role else api_path("keys", "renewal", what)
        return self._wire.post(path, RotationAnswer, document=msgspec.to_builtins(request))
