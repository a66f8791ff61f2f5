"""Enrolment: who may join, who did, who was put out."""

from __future__ import annotations

import msgspec

from p2pctl.api.calls import Calls, api_path
from p2pdeploy.messages.enrolment_desk import (
    EnrolmentStatus,
    RevokeRequest,
    TokenRequest,
    TokenView,
)

__all__ = ["EnrolmentCalls"]


class EnrolmentCalls(Calls):
    """What the API does with hosts that join and identities that are revoked."""

    def join_tokens(self, request: TokenRequest) -> list[TokenView]:
        """One join token for each host of *request*; older unused ones of theirs are void."""
        return self._wire.post(
            api_path("enrolment", "tokens"), list[TokenView], document=msgspec.to_builtins(request)
        )

    def enrolment(self) -> EnrolmentStatus:
        """How every host stands, and the alarms."""
        return self._wire.get(api_path("enrolment"), EnrolmentStatus)

    def revoke(self, request: RevokeRequest) -> None:
        """Put a host out, or refuse an operator's certificate; in force on return."""
        self._wire.post(api_path("enrolment", "revocations"), RevokeRequest, document=request)
