"""The roles of release metadata and their keys."""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import check_service
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey

__all__ = ["OnlineKeys", "TopKeys", "key_kind", "service_role"]


class TopKeys(msgspec.Struct, frozen=True, kw_only=True):
    """What a root document says: the keys of the four top-level roles."""

    root: RoleKeys
    targets: RoleKeys
    snapshot: RoleKeys
    timestamp: RoleKeys

    def by_role(self) -> dict[str, RoleKeys]:
        """The four, under the names that TUF has for them."""
        return {
            "root": self.root,
            "targets": self.targets,
            "snapshot": self.snapshot,
            "timestamp": self.timestamp,
        }


class OnlineKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The two private keys that the control plane holds for releases."""

    snapshot: SigningKey
    timestamp: SigningKey


def service_role(service: str) -> str:
    """The delegated role of *service*.  Raises RefusedError: it is no service name."""
    return f"svc/{check_service(service)}"


def key_kind(role: str) -> str:
    """The first part of the ids of a role's keys: one publisher may sign for many services."""
    return "publisher" if role.startswith("svc/") else role
