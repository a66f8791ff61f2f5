"""Operators' certificates that were made on the control plane's own machine, beside its API.

``p2ptracker init`` makes the first one, ``p2ptracker operator`` another when nobody is left who
could ask for one.  The public half stays in ``DIR/trust/operators/SERIAL.pem``, from where a
running control plane takes it on record.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import structlog

from p2pdeploy.errors import P2PDeployError
from p2pdeploy.trust.certificates import (
    BACKDATED,
    OPERATOR_LIFETIME,
    key_to_pem,
    new_key,
    signing_request,
)
from p2pdeploy.trust.identity import ControlPlaneId, spiffe_id
from p2pdeploy.trust.operator_certificate import is_issued_by, operator_certificate
from p2pdeploy.trust.operator_roles import check_roles
from p2pdeploy.trust.private_files import make_private_folder, read_private, write_private
from p2ptracker.authority.folder import TrustFolder
from p2ptracker.authority.issue import issue_operator
from p2ptracker.operators.rules import Issued, check_name

__all__ = ["certificates_made_here", "make_operator_here"]

FILES_MAX = 1_000  # one for each lockout there ever was

log = structlog.get_logger(__name__)


def make_operator_here(
    trust: TrustFolder, name: str, roles: Sequence[str], *, now: dt.datetime
) -> bytes:
    """A fresh key and its certificate in one PEM, for *name* with *roles*.

    Raises:
        RefusedError: there is no such role, or nobody can be called so.
        OSError: the trust folder can't be written.
    """
    key = new_key()
    certificate = issue_operator(
        trust, check_name(name), check_roles(roles), signing_request(key), now=now
    )
    folder = make_private_folder(_folder(trust))
    write_private(folder / f"{operator_certificate(certificate).serial}.pem", certificate)
    return key_to_pem(key) + certificate


def certificates_made_here(trust: TrustFolder) -> list[Issued]:
    """Every certificate in ``DIR/trust/operators`` that our own CA issued.  Blocks."""
    paths = sorted(_folder(trust).glob("*.pem"))[:FILES_MAX]
    return [issued for path in paths if (issued := _read(trust, path)) is not None]


def _read(trust: TrustFolder, path: Path) -> Issued | None:
    try:
        pem = read_private(path, hint="")
        found = operator_certificate(pem)
    except P2PDeployError as error:
        log.warning("operator-certificate-damaged", path=str(path), reason=str(error))
        return None
    if not is_issued_by(pem, trust.fleet_ca.pem):
        log.warning("operator-certificate-foreign", path=str(path))
        return None
    issued_at = (found.issued_at + BACKDATED).timestamp()  # it holds since before it was made
    return Issued(
        serial=found.serial,
        name=found.identity.name,
        roles=found.roles,
        issued_at=issued_at,
        expires_at=min(found.expires_at.timestamp(), issued_at + OPERATOR_LIFETIME.total_seconds()),
        issued_by=spiffe_id(ControlPlaneId(trust.fleet)),
    )


def _folder(trust: TrustFolder) -> Path:
    return trust.paths.trust / "operators"
