"""Operators: who has a certificate, who gets one, whose is taken back."""

from __future__ import annotations

import msgspec

from p2pctl.api.calls import Calls, api_path
from p2pdeploy.messages.operators import (
    IssuedOperator,
    IssueRequest,
    OperatorView,
    RenewalRequest,
    RevocationRequest,
)

__all__ = ["OperatorCalls"]


class OperatorCalls(Calls):
    """What the API does with certificates of people and jobs."""

    def operators(self) -> list[OperatorView]:
        """Every certificate on record, the newest first."""
        return self._wire.get(api_path("operators"), list[OperatorView])

    def issue_operator(self, request: IssueRequest) -> IssuedOperator:
        """Give somebody a certificate.  Raises RefusedError (``operator-exists``)."""
        return self._wire.post(
            api_path("operators"), IssuedOperator, document=msgspec.to_builtins(request)
        )

    def renew_operator(self, request: RenewalRequest) -> IssuedOperator:
        """Another certificate for ourselves, for another key."""
        return self._wire.post(
            api_path("operators", "renewal"), IssuedOperator, document=msgspec.to_builtins(request)
        )

    def revoke_operator(self, request: RevocationRequest) -> list[OperatorView]:
        """Take certificates back; in force on return.  Raises RefusedError ``last-admin``."""
        return self._wire.post(
            api_path("operators", "revocation"), list[OperatorView], document=request
        )
