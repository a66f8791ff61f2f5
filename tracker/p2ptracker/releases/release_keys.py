"""The keys of releases that the control plane holds."""

from __future__ import annotations

import msgspec

from p2pdeploy.errors import ConfigError
from p2pdeploy.trust.releases.keys import OnlineKeys, RoleKeys
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.authority.first_documents import read_publishers
from p2ptracker.authority.folder import TrustFolder

__all__ = ["ReleaseKeys", "release_keys"]


class ReleaseKeys(msgspec.Struct, frozen=True, kw_only=True):
    """``targets`` is None when that key lies offline, as it should.

    ``new_service`` is who publishes a service that nobody knew before.
    """

    online: OnlineKeys
    targets: SigningKey | None
    new_service: RoleKeys


def release_keys(trust: TrustFolder) -> ReleaseKeys:
    """The keys of the fleet's folder.

    Raises:
        ConfigError: an online key is missing, or ``publishers.toml`` is not usable.
    """
    missing = [role for role in ("snapshot", "timestamp") if role not in trust.keys]
    if missing:
        raise ConfigError(
            f"the {missing[0]} key is needed all the time",
            where=str(trust.paths.key(missing[0])),
            hint="only the root and targets keys belong offline",
            code="no-trust",
        )
    return ReleaseKeys(
        online=OnlineKeys(snapshot=trust.keys["snapshot"], timestamp=trust.keys["timestamp"]),
        targets=trust.keys.get("targets"),
        new_service=read_publishers(trust.paths.publishers),
    )
