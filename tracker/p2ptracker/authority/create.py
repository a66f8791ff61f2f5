"""``p2ptracker init``: the authorities and keys of a new fleet."""

from __future__ import annotations

import datetime as dt
import secrets
from pathlib import Path

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import check_label
from p2pdeploy.trust.certificates import key_to_pem, new_authority
from p2pdeploy.trust.keyring import ORDER_ROLES
from p2pdeploy.trust.operator_roles import ADMIN
from p2pdeploy.trust.private_files import make_private_folder, remove_drafts, write_private
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.authority.first_documents import first_root, first_targets, publishers_text
from p2ptracker.authority.folder import RELEASE_ROLES, TrustFolder, TrustPaths
from p2ptracker.operators.made_here import make_operator_here

__all__ = ["FIRST_OPERATOR", "create_trust", "new_fleet_name"]

FIRST_OPERATOR = "admin"
_NAME_BYTES = 4  # two labs of one person never meet; a company names its fleets itself


def new_fleet_name() -> str:
    """A name for a fleet whose maker doesn't care."""
    return f"lab-{secrets.token_hex(_NAME_BYTES)}"


def create_trust(folder: Path, fleet: str, *, now: dt.datetime) -> TrustFolder:
    """Make the trust folder of a new fleet in *folder*, and the first operator's certificate.

    Args:
        folder: The fleet's; made when missing.
        fleet: Its trust domain.
        now: The time, with a zone.

    Raises:
        RefusedError: there is one already (nothing was changed), or *fleet* is no label.
        OSError: the folder can't be written; what was begun may be deleted.
    """
    check_label(fleet, "fleet name")
    paths = TrustPaths(folder)
    if paths.about.exists():
        raise RefusedError(
            "this fleet has its keys already",
            where=str(paths.trust),
            hint="hosts trust these; see 'p2pctl keys' for changing some of them",
            code="trust-exists",
        )
    keys = {role: SigningKey.generate(role=role) for role in (*ORDER_ROLES, *RELEASE_ROLES)}
    trust = TrustFolder(
        paths=paths,
        fleet=fleet,
        fleet_ca=new_authority(f"{fleet} fleet CA", now=now),
        swarm_ca=new_authority(f"{fleet} swarm CA", now=now),
        keys=keys,
        release_root=first_root(keys, now=now),
    )
    _write(folder, trust, now)
    return trust


def _write(folder: Path, trust: TrustFolder, now: dt.datetime) -> None:
    paths = trust.paths
    for part in (folder, paths.trust, paths.keys, paths.fleet_ca.parent, paths.operator.parent):
        make_private_folder(part)
    for part in (paths.trust, paths.keys, paths.fleet_ca.parent, paths.operator.parent):
        remove_drafts(part)  # of an init that was killed: they hold keys
    write_private(paths.fleet_ca_key, key_to_pem(trust.fleet_ca.key))
    write_private(paths.fleet_ca, trust.fleet_ca.pem)
    write_private(paths.swarm_ca_key, key_to_pem(trust.swarm_ca.key))
    write_private(paths.swarm_ca, trust.swarm_ca.pem)
    for role, key in trust.keys.items():
        write_private(paths.key(role), key.to_pem())
    write_private(paths.release_root, trust.release_root)
    write_private(paths.targets, first_targets(trust.keys, now=now))
    _create_operator(trust, now)
    # Last: a folder without it was begun and never finished, and is made anew.
    created = now.astimezone(dt.UTC).isoformat(timespec="seconds")
    write_private(paths.about, f'fleet = "{trust.fleet}"\ncreated = "{created}"\n'.encode())


def _create_operator(trust: TrustFolder, now: dt.datetime) -> None:
    pem = make_operator_here(trust, FIRST_OPERATOR, (ADMIN,), now=now)
    write_private(trust.paths.operator, pem)
    publisher = SigningKey.generate(role="publisher")
    write_private(trust.paths.publisher_key, publisher.to_pem())
    write_private(trust.paths.publishers, publishers_text(publisher).encode())
