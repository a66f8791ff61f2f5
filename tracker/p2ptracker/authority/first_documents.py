"""The documents that trust in a new fleet's releases begins with, and who publishes.

They are made where the fleet is made, since root and targets keys belong offline from then on.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Mapping
from pathlib import Path

from p2pdeploy.errors import ConfigError
from p2pdeploy.trust.keyring import ORDER_ROLES
from p2pdeploy.trust.private_files import read_private
from p2pdeploy.trust.releases.files import sign_file
from p2pdeploy.trust.releases.keys import TopKeys
from p2pdeploy.trust.releases.proposals import propose_root, propose_targets
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey

__all__ = ["first_root", "first_targets", "order_keys_in", "publishers_text", "read_publishers"]

_PUBLISHERS = """\
# Whose signatures a new service's releases take: so many of these keys (Ed25519, hexadecimal).
threshold = 1
keys = ["{key}"]
"""


def first_root(keys: Mapping[str, SigningKey], *, now: dt.datetime) -> bytes:
    """A root document, signed, that names one key for each role of TUF."""
    top = TopKeys(
        root=_one(keys["root"]),
        targets=_one(keys["targets"]),
        snapshot=_one(keys["snapshot"]),
        timestamp=_one(keys["timestamp"]),
    )
    return sign_file(propose_root(None, top, now=now), keys["root"])


def first_targets(keys: Mapping[str, SigningKey], *, now: dt.datetime) -> bytes:
    """A targets document, signed, of a fleet without services."""
    proposal = propose_targets(None, order_keys=order_keys_in(keys), services={}, now=now)
    return sign_file(proposal, keys["targets"])


def order_keys_in(keys: Mapping[str, SigningKey]) -> dict[str, RoleKeys]:
    """Who signs orders, as a targets document says it."""
    return {role: _one(keys[role]) for role in ORDER_ROLES}


def publishers_text(publisher: SigningKey) -> str:
    """``publishers.toml`` with one key."""
    return _PUBLISHERS.format(key=publisher.public_key.hex())


def read_publishers(path: Path) -> RoleKeys:
    """Whose signatures a new service takes.

    Raises:
        ConfigError: missing, readable by others, or not as :func:`publishers_text` writes it.
    """
    data = read_private(path, hint="it says who signs the releases of new services")
    try:
        said = tomllib.loads(data.decode())
        return RoleKeys(
            threshold=int(said["threshold"]),
            public_keys=tuple(bytes.fromhex(key) for key in said["keys"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"cannot be used: {error}", where=str(path)) from error


def _one(key: SigningKey) -> RoleKeys:
    return RoleKeys(threshold=1, public_keys=(key.public_key,))
