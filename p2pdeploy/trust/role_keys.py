"""Who may sign in a role: public keys and a threshold.  Private keys stay with their owners."""

from __future__ import annotations

import msgspec

from p2pdeploy.errors import ConfigError
from p2pdeploy.trust.signing import PUBLIC_KEY_BYTES, key_id_of

__all__ = ["KEYS_PER_ROLE_MAX", "OrderRoles", "RoleKeys"]

KEYS_PER_ROLE_MAX = 16  # a threshold of more people than this never meets


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
        """The ids of the keys, in their order; *kind* is the first part of each."""
        return tuple(key_id_of(kind, key) for key in self.public_keys)


OrderRoles = dict[str, RoleKeys]
"""Role of an order (``rollout``, ``deployer``, ``go``, ``abort``, ``enrol``) to its keys."""
