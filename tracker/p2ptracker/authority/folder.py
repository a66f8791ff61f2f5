"""The trust folder of a fleet, as ``p2ptracker init`` made it.

::

    DIR/ca/fleet.pem  ca/swarm.pem          the authorities' certificates: public, to be pinned
    DIR/ca/release-root.json                where trust in releases begins (TUF): the same
    DIR/trust/fleet.toml                    the fleet's name and when it was made
    DIR/trust/fleet-ca.key  swarm-ca.key    what signs certificates
    DIR/trust/control-plane.pem             key and certificate the control plane presents
    DIR/trust/keys/ROLE.key                 Ed25519, one for each role
    DIR/trust/cells/CELL.keys               the keys of a cell's gossip
    DIR/trust/targets.json                  the first word on who publishes what
    DIR/trust/publishers.toml               whose signatures a new service takes
    DIR/trust/operators/SERIAL.pem          certificates of operators that were made here
    DIR/operator/operator.pem               key and certificate of the first operator
    DIR/operator/publisher.key              Ed25519, signs releases

Folders have mode 0700, files 0600.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
from cryptography import x509

from p2pdeploy.errors import ConfigError, P2PDeployError
from p2pdeploy.trust.bundle import TrustBundle
from p2pdeploy.trust.certificates import Authority, key_from_pem
from p2pdeploy.trust.keyring import ORDER_ROLES
from p2pdeploy.trust.private_files import read_private
from p2pdeploy.trust.signing import SigningKey
from p2pdeploy.trust.tls import IdentityFiles

__all__ = [
    "OFFLINE_ROLES",
    "ONLINE_RELEASE_ROLES",
    "RELEASE_ROLES",
    "TrustFolder",
    "TrustPaths",
    "open_trust",
]

OFFLINE_ROLES = ("root", "targets")
"""Keys that are needed a few times a year."""
ONLINE_RELEASE_ROLES = ("snapshot", "timestamp")
"""Keys that sign by themselves, day after day."""
RELEASE_ROLES = (*OFFLINE_ROLES, *ONLINE_RELEASE_ROLES)
"""The keys of signed releases (TUF)."""

_HINT = "'p2ptracker init DIR' makes it, 'p2pctl up' does so for a fleet on this machine"


class TrustPaths:
    """Where everything of the fleet in *folder* lies."""

    def __init__(self, folder: Path) -> None:
        self.fleet_ca = folder / "ca" / "fleet.pem"
        self.swarm_ca = folder / "ca" / "swarm.pem"
        self.trust = folder / "trust"
        self.about = self.trust / "fleet.toml"
        self.fleet_ca_key = self.trust / "fleet-ca.key"
        self.swarm_ca_key = self.trust / "swarm-ca.key"
        self.control_plane = self.trust / "control-plane.pem"
        self.keys = self.trust / "keys"
        self.cells = self.trust / "cells"
        self.operator = folder / "operator" / "operator.pem"
        self.release_root = folder / "ca" / "release-root.json"
        self.targets = self.trust / "targets.json"
        self.publishers = self.trust / "publishers.toml"
        self.publisher_key = folder / "operator" / "publisher.key"

    def key(self, role: str) -> Path:
        return self.keys / f"{role}.key"

    def offline(self) -> tuple[Path, ...]:
        """Keys that a running control plane never needs: nobody can steal them from it."""
        return tuple(self.key(role) for role in OFFLINE_ROLES)

    def next_key(self, role: str) -> Path:
        """The key that takes over from the role's, while a rotation is under way."""
        return self.keys / f"{role}.next.key"

    def control_plane_files(self) -> IdentityFiles:
        """What the control plane's listeners and its own connections present."""
        return IdentityFiles(
            certificate=self.control_plane, key=self.control_plane, authority=self.fleet_ca
        )

    def operator_files(self) -> IdentityFiles:
        """What the first operator presents."""
        return IdentityFiles(certificate=self.operator, key=self.operator, authority=self.fleet_ca)


class TrustFolder(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the control plane signs with.

    ``keys`` by role: those that it needs all the time, and of orders those that it has.  A
    rotation replaces one in place.  What belongs offline is not among them: :meth:`offline_key`.
    """

    paths: TrustPaths
    fleet: str
    fleet_ca: Authority
    swarm_ca: Authority
    keys: dict[str, SigningKey]
    release_root: bytes

    def offline_key(self, role: str) -> SigningKey | None:
        """The root or the targets key, if it lies here; read anew each time and held by nobody.

        Raises:
            ConfigError: it is damaged, or others can read it.
        """
        assert role in OFFLINE_ROLES, role
        return _signing_key(self.paths, role) if self.paths.key(role).exists() else None

    def bundle(self) -> TrustBundle:
        """What every member may know of it."""
        return TrustBundle(
            fleet=self.fleet,
            fleet_ca_pem=self.fleet_ca.pem,
            swarm_ca_pem=self.swarm_ca.pem,
            release_root=self.release_root,
        )


def open_trust(folder: Path) -> TrustFolder:
    """Read the trust folder of the fleet in *folder*.

    Raises:
        ConfigError: it was never made, a file is missing or damaged, or others can read it.
    """
    paths = TrustPaths(folder)
    try:
        about = tomllib.loads(read_private(paths.about, hint=_HINT).decode())
        return TrustFolder(
            paths=paths,
            fleet=str(about["fleet"]),
            fleet_ca=_authority(paths.fleet_ca, paths.fleet_ca_key),
            swarm_ca=_authority(paths.swarm_ca, paths.swarm_ca_key),
            keys={role: _signing_key(paths, role) for role in _online(paths)},
            release_root=read_private(paths.release_root, hint=_HINT),
        )
    except ConfigError:
        raise
    except (P2PDeployError, ValueError, KeyError) as error:
        raise ConfigError(f"damaged: {error}", where=str(paths.trust), code="no-trust") from error


def _online(paths: TrustPaths) -> list[str]:
    """The roles whose keys are needed all the time; people may have that of rollouts."""
    roles = [role for role in ORDER_ROLES if role != "rollout" or paths.key(role).exists()]
    return [*roles, *(role for role in ONLINE_RELEASE_ROLES if paths.key(role).exists())]


def _authority(certificate: Path, key: Path) -> Authority:
    return Authority(
        key_from_pem(read_private(key, hint=_HINT)),
        x509.load_pem_x509_certificate(read_private(certificate, hint=_HINT)),
    )


def _signing_key(paths: TrustPaths, role: str) -> SigningKey:
    return SigningKey.from_pem(read_private(paths.key(role), hint=_HINT), role=role)
