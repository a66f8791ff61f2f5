"""The trust folder of test fleets: made once in a run, copied into each fleet."""

from __future__ import annotations

import datetime as dt
import functools
import shutil
import tempfile
from pathlib import Path

from p2pdeploy.topology import Host
from p2pdeploy.trust.bundle import KnownOrders
from p2pdeploy.trust.certificates import key_to_pem, new_key, signing_request
from p2pdeploy.trust.host_identity import load_identity, save_identity
from p2pdeploy.trust.host_keys import new_attestation_key, new_leaf_keys
from p2pdeploy.trust.keyring import ORDER_ROLES, OrderKeys
from p2pdeploy.trust.private_files import write_private
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.tls import IdentityFiles
from p2ptracker.authority.create import create_trust
from p2ptracker.authority.folder import TrustFolder, open_trust
from p2ptracker.authority.issue import issue_host, issue_operator, refresh_control_plane

__all__ = [
    "FLEET",
    "add_trust",
    "control_plane_files",
    "enrol",
    "first_orders",
    "host_files",
    "operator_files",
]

FLEET = "lab"


@functools.cache
def _template() -> tempfile.TemporaryDirectory[str]:
    made = tempfile.TemporaryDirectory(prefix="p2p-trust-")
    create_trust(Path(made.name), FLEET, now=dt.datetime.now(dt.UTC))
    return made


def add_trust(folder: Path) -> None:
    """Give the fleet in *folder* authorities, keys and an operator."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copytree(_template().name, folder, dirs_exist_ok=True)


def enrol(fleet: Path, host: Host, identity: Path) -> None:
    """Write the identity of *host* of the fleet in *fleet* into the folder *identity*."""
    trust = open_trust(fleet)
    key, keys = new_attestation_key(host.name), new_leaf_keys()
    issued = issue_host(trust, host, key.public_key, keys.requests, now=dt.datetime.now(dt.UTC))
    save_identity(identity, key, keys.fleet_pem, keys.swarm_pem, issued, first_orders(trust))


def first_orders(trust: TrustFolder) -> KnownOrders:
    """Who signs orders, as the first targets document says."""
    roles = {
        role: RoleKeys(threshold=1, public_keys=(trust.keys[role].public_key,))
        for role in ORDER_ROLES
    }
    return KnownOrders(targets_version=1, orders=OrderKeys(trust.fleet, roles))


def host_files(fleet: Path, host: Host) -> IdentityFiles:
    """What the daemon of *host* presents; it joins when it has not."""
    identity = fleet / "hosts" / host.name / "identity"
    if not identity.exists():
        enrol(fleet, host, identity)
    return load_identity(identity, host.name).files


def control_plane_files(fleet: Path, address: str = "127.0.0.1") -> IdentityFiles:
    """What the control plane of the fleet in *fleet* presents."""
    trust = open_trust(fleet)
    refresh_control_plane(trust, address, now=dt.datetime.now(dt.UTC))
    return trust.paths.control_plane_files()


def operator_files(fleet: Path, name: str = "ann", *roles: str) -> IdentityFiles:
    """A certificate for an operator of the fleet in *fleet* with *roles*."""
    trust, key = open_trust(fleet), new_key()
    request, now = signing_request(key), dt.datetime.now(dt.UTC)
    path = fleet / "operator" / f"{name}.pem"
    write_private(path, key_to_pem(key) + issue_operator(trust, name, roles, request, now=now))
    return IdentityFiles(certificate=path, key=path, authority=trust.paths.fleet_ca)
