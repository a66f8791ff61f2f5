"""The keys of releases that the control plane has."""

from __future__ import annotations

from collections.abc import Collection

from p2pdeploy.errors import ConfigError
from p2pdeploy.trust.releases.documents import keys_of_role
from p2pdeploy.trust.releases.keys import OnlineKeys
from p2pdeploy.trust.releases.library import Root
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.authority.first_documents import read_publishers
from p2ptracker.authority.folder import ONLINE_RELEASE_ROLES, TrustFolder
from p2ptracker.authority.next_keys import next_key, put_in_place

__all__ = ["ReleaseKeys", "release_keys"]


class ReleaseKeys:
    """Those of *trust*, as they are at each look.

    Attributes:
        new_service: Who publishes a service that nobody knew before.
    """

    def __init__(self, trust: TrustFolder, new_service: RoleKeys) -> None:
        self._trust = trust
        self.new_service = new_service

    def __repr__(self) -> str:
        return f"<ReleaseKeys of {self._trust.fleet}>"

    @property
    def online(self) -> OnlineKeys:
        """What signs by itself."""
        keys = self._trust.keys
        return OnlineKeys(snapshot=keys["snapshot"], timestamp=keys["timestamp"])

    def take_named(self, root: Root) -> None:
        """Use the keys that *root* names: a kill may have left one that takes over in its file.

        Blocking.  Raises ConfigError: a file is damaged, or others can read it.
        """
        for role in ONLINE_RELEASE_ROLES:
            self.take_next(role, keys_of_role(root, role).public_keys)

    def take_next(self, role: str, named: Collection[bytes]) -> None:
        """Put the key that takes over in *role* in its place if it is one of *named*."""
        paths = self._trust.paths
        if paths.next_key(role).exists() and next_key(paths, role).public_key in named:
            key = put_in_place(paths, role)
            if role in ONLINE_RELEASE_ROLES:
                self._trust.keys[role] = key

    @property
    def has_targets(self) -> bool:
        """Whether the targets key lies here, which it should not."""
        return self._trust.paths.key("targets").exists()

    def read(self, role: str) -> SigningKey | None:
        """The ``root`` or the ``targets`` key if it lies here, read from its file each time.

        Blocking.  Raises ConfigError: it is damaged, or others can read it.
        """
        return self._trust.offline_key(role)


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
