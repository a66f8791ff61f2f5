"""The keys of releases that the control plane has."""

from __future__ import annotations

import threading
from collections.abc import Collection

from p2pdeploy.errors import ConfigError
from p2pdeploy.trust.releases.documents import keys_of_role
from p2pdeploy.trust.releases.keys import OnlineKeys
from p2pdeploy.trust.releases.library import Root
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.authority.first_documents import read_publishers
from p2ptracker.authority.folder import (
    OFFLINE_ROLES,
    ONLINE_RELEASE_ROLES,
    RELEASE_ROLES,
    TrustFolder,
)
from p2ptracker.authority.next_keys import named_key, put_in_place

__all__ = ["ReleaseKeys", "release_keys"]


class ReleaseKeys:
    """Those of *trust* that the newest root names, as they are at each look.

    Attributes:
        new_service: Who publishes a service that nobody knew before.
    """

    def __init__(self, trust: TrustFolder, new_service: RoleKeys) -> None:
        self._trust = trust
        self._named: dict[str, Collection[bytes]] = {}  # public halves, by role
        self._files = threading.Lock()  # a key is not read while its file is put in place
        self.new_service = new_service

    def __repr__(self) -> str:
        return f"<ReleaseKeys of {self._trust.fleet}>"

    @property
    def online(self) -> OnlineKeys:
        """What signs by itself."""
        keys = self._trust.keys
        return OnlineKeys(snapshot=keys["snapshot"], timestamp=keys["timestamp"])

    def follow(self, root: Root) -> None:
        """Go by the keys that *root* names, the newest one, from now on."""
        self._named = {role: keys_of_role(root, role).public_keys for role in RELEASE_ROLES}

    def take_named(self) -> None:
        """Put the keys that the root names in their places: a kill may have come between.

        Blocking; costs a look at four names when there is nothing to do.

        Raises:
            ConfigError: a file is damaged, or others can read it.
            UnavailableError: the disk refused; no other key may be made, and nothing signed.
        """
        with self._files:
            for role in filter(self._is_behind, RELEASE_ROLES):
                key = put_in_place(self._trust.paths, role, self._named_for(role))
                if key is not None and role in ONLINE_RELEASE_ROLES:
                    self._trust.keys[role] = key

    def _is_behind(self, role: str) -> bool:
        if self._trust.paths.next_key(role).exists():
            return True
        own = self._trust.keys.get(role)  # none of a role that may lie offline
        return own is not None and own.public_key not in self._named_for(role)

    def _named_for(self, role: str) -> Collection[bytes]:
        return self._named.get(role, ())

    @property
    def has_targets(self) -> bool:
        """Whether the targets key lies here, which it should not."""
        return self.read("targets") is not None

    def read(self, role: str) -> SigningKey | None:
        """The ``root`` or the ``targets`` key if it lies here, read from its file each time.

        One that the root does not name is none: others have taken over, and a kill left it here.
        Blocking.  Raises ConfigError: it is damaged, or others can read it.
        """
        assert role in OFFLINE_ROLES, role
        with self._files:
            return named_key(self._trust.paths, role, self._named_for(role))


def release_keys(trust: TrustFolder) -> ReleaseKeys:
    """The keys of the fleet's folder.

    Raises:
        ConfigError: an online key is missing, or ``publishers.toml`` is not usable.
    """
    missing = [role for role in ONLINE_RELEASE_ROLES if role not in trust.keys]
    if missing:
        raise ConfigError(
            f"the {missing[0]} key is needed all the time",
            where=str(trust.paths.key(missing[0])),
            hint="only the root and targets keys belong offline",
            code="no-trust",
        )
    return ReleaseKeys(trust, read_publishers(trust.paths.publishers))
