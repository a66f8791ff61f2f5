"""The control plane's own keys of orders, as rotations replace them in memory and in its folder."""

from __future__ import annotations

from p2pdeploy.errors import ConfigError
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.authority.folder import TrustFolder
from p2ptracker.authority.next_keys import named_key, put_in_place
from p2ptracker.keys.rotation import Rotation
from p2ptracker.threads import Threads

__all__ = ["OwnKeys"]


class OwnKeys:
    """Those of *trust*, which gets the new ones."""

    def __init__(self, trust: TrustFolder) -> None:
        self._trust = trust
        self._files = Threads(1)

    def __repr__(self) -> str:
        return f"<OwnKeys of {self._trust.fleet}>"

    async def coming(self, rotation: Rotation) -> SigningKey:
        """The key that takes over by *rotation*, wherever it lies.

        Raises:
            ConfigError: it is gone, damaged, or others can read it.
        """
        paths = self._trust.paths
        key = await self._files.run(named_key, paths, rotation.role, rotation.public_keys)
        return key or self._gone(rotation)

    def have_taken_over(self, rotation: Rotation) -> bool:
        """Whether the key that signs is the one of *rotation*, or none if people's keys do."""
        own = self._trust.keys.get(rotation.role)
        if own is None:
            return not rotation.is_ours
        return own.public_key in rotation.public_keys

    async def take_over(self, rotation: Rotation) -> None:
        """Sign by *rotation* from now on: with its key, or not at all if it is of people.

        Twice is once.

        Raises:
            ConfigError: the key is gone, damaged, or others can read it.
            UnavailableError: it can't be put in place; the key of before signs until it is.
        """
        role, keys = rotation.role, self._trust.keys
        if rotation.is_ours:
            paths = self._trust.paths
            key = await self._files.run(put_in_place, paths, role, rotation.public_keys)
            keys[role] = key or self._gone(rotation)
        elif not self.have_taken_over(rotation):
            del keys[role]

    def _gone(self, rotation: Rotation) -> SigningKey:
        raise ConfigError(
            f"the {rotation.role} key that takes over is gone",
            where=str(self._trust.paths.next_key(rotation.role)),
            hint="restore it from a backup of the fleet's folder",
            code="wrong-order-key",
        )
