"""Access: who may call what, and who did."""

from __future__ import annotations

from p2pctl.api.calls import Calls, api_path
from p2pdeploy.messages.access import AccessRow
from p2pdeploy.messages.audit import AuditEntry

__all__ = ["AccessCalls"]


class AccessCalls(Calls):
    """What the API tells of roles and of what people did with them."""

    def access_matrix(self) -> list[AccessRow]:
        """Every route with the roles that may call it."""
        return self._wire.get(api_path("auth", "matrix"), list[AccessRow])

    def audit_entries(self, *, after: int, limit: int) -> list[AuditEntry]:
        """A page of the audit log behind entry number *after*, oldest first."""
        return self._wire.get(api_path("audit"), list[AuditEntry], after=after, limit=limit)
