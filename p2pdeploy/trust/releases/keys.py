"""Who may sign what: public keys and thresholds.  Private keys stay with their owners."""

from __future__ import annotations

import msgspec

from p2pdeploy.errors import ConfigError
from p2pdeploy.ids import check_service
from p2pdeploy.trust.releases.limits import KEYS_PER_ROLE_MAX
from p2pdeploy.trust.signing import PUBLIC_KEY_BYTES, SigningKey, key_id_of

__all__ = ["OnlineKeys", "OrderKeys", "RoleKeys", "TopKeys", "key_kind", "service_role"]


class RoleKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """*threshold* of *public_keys* (raw Ed25519) must sign.

    Raises:
        ConfigError: a threshold that can't be met, no or too many keys, or one key twice, which
            would count twice.
    """

    threshold: int
    public_keys: tuple[bytes, ...]

    def __post_init__(self) -> None:
        count = len(self.public_keys)
        if not 1 <= count <= KEYS_PER_ROLE_MAX:
            raise ConfigError(f"a role has 1 to {KEYS_PER_ROLE_MAX} keys, not {count}")
        if len(set(self.public_keys)) != count:
            raise ConfigError("one key stands twice in a role")
        if any(len(key) != PUBLIC_KEY_BYTES for key in self.public_keys):
            raise ConfigError(f"a public key has {PUBLIC_KEY_BYTES} bytes")
        if not 1 <= self.threshold <= count:
            raise ConfigError(f"threshold {self.threshold} with {count} keys can't be met")

    def key_ids(self, kind: str) -> tuple[str, ...]:
        """The ids of the keys, in their order; *kind* as :func:`key_kind` gives it."""
        return tuple(key_id_of(kind, key) for key in self.public_keys)


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


OrderKeys = dict[str, RoleKeys]
"""Role of an order (``rollout``, ``deployer``, ``go``, ``abort``, ``enrol``) to its keys."""


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
