"""A person's own folder: from a key that waits for its certificate to a fleet's folder.

::

    FOLDER/NAME.request            for an admin: a name, the roles that are wanted, a public key
    FOLDER/operator/operator.key   0600, while the request is under way
    NAME.pass                      from the admin: a certificate, and what is public of the fleet

    FOLDER/operator/operator.pem   0600, key and certificate, once the pass was accepted
    FOLDER/ca/  FOLDER/fleet.json  whom to believe, and where the control plane is

Request and pass hold no secret; the key never leaves the folder.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from p2pctl.fleet_dir import FleetDir, FleetFile
from p2pctl.signing import read_release_root
from p2pdeploy.codec import UNDECODABLE
from p2pdeploy.errors import ConfigError, RefusedError, TrustError
from p2pdeploy.ids import check_label
from p2pdeploy.messages.operators import (
    PASS_BYTES_MAX,
    REQUEST_BYTES_MAX,
    IssuedOperator,
    OperatorPass,
    OperatorRequest,
)
from p2pdeploy.trust.certificates import fingerprint, key_to_pem, new_key, signing_request
from p2pdeploy.trust.operator_certificate import (
    OperatorCertificate,
    is_issued_by,
    key_fingerprint,
    operator_certificate,
)
from p2pdeploy.trust.operator_roles import check_roles
from p2pdeploy.trust.private_files import make_private_folder, read_private, write_private

__all__ = [
    "accept_pass",
    "authority_of",
    "make_pass",
    "make_request",
    "read_document",
    "renew_key",
    "write_issued",
]

_FINGERPRINT_DIGITS = 16  # 64 bits

Document = TypeVar("Document", OperatorRequest, OperatorPass)


def make_request(folder: Path, name: str, roles: Sequence[str]) -> tuple[Path, str]:
    """Make a key in *folder* and the request for an admin.

    Returns:
        The request's file, and the key's fingerprint, by which the admin knows it.

    Raises:
        RefusedError: *folder* has an operator's key already, *name* is no name, or there is no
            such role.  Nothing was made.
    """
    check_label(name, "operator name")
    wanted = check_roles(roles) if roles else ()
    if not folder.exists():
        make_private_folder(folder)
    place = make_private_folder(folder / "operator")
    for path in (_key(folder), _identity(folder)):
        if path.exists():
            raise RefusedError(
                "this folder has an operator's key already",
                where=str(path),
                hint="name another folder with --out",
                code="key-exists",
            )
    key = new_key()
    request = OperatorRequest(name=name, roles=wanted, request=signing_request(key))
    write_private(place / "operator.key", key_to_pem(key))
    path = folder / f"{name}.request"
    write_private(path, _text(request))
    return path, key_fingerprint(request=request.request)


def make_pass(fleet: FleetDir, issued: IssuedOperator) -> bytes:
    """What the requester gets: the certificate, and all that is public in the folder *fleet*."""
    file = fleet.read()
    return _text(
        OperatorPass(
            api=file.api,
            announce=file.announce,
            authority_pem=read_private(_authority(fleet.path), hint="it is the fleet's CA"),
            release_root=_release_root(fleet.path),
            certificate_pem=issued.certificate_pem,
        )
    )


def read_document(path: Path, kind: type[Document]) -> Document:
    """The request or pass in *path*; raises ConfigError when it is none."""
    most = max(REQUEST_BYTES_MAX, PASS_BYTES_MAX)
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise ConfigError(f"larger than {most} bytes", where=str(path))
        return msgspec.json.decode(data, type=kind)
    except (OSError, *UNDECODABLE) as error:
        what = "request" if kind is OperatorRequest else "pass"
        raise ConfigError(
            f"this is no {what}: {error}",
            where=str(path),
            hint="'p2pctl auth request' writes requests, 'p2pctl auth issue' passes",
            code=f"bad-{what}",
        ) from error


def accept_pass(folder: Path, given: OperatorPass, *, now: dt.datetime) -> OperatorCertificate:
    """Make *folder*, in which the request was made, that of a fleet.

    Raises:
        TrustError: the certificate is not for the key here, not of the fleet that the pass names,
            expired, or the folder belongs to another fleet or believes another root of releases.
            Nothing was changed.
        ConfigError: there is no key in the folder.
    """
    key_pem = _requested_key(folder, given)
    found = operator_certificate(given.certificate_pem)
    if found.key_fingerprint != key_fingerprint(key_pem=key_pem):
        raise _refused("the certificate is for another key", folder, "other-key")
    if not is_issued_by(given.certificate_pem, given.authority_pem):
        raise _refused("the certificate is not of the fleet in the pass", folder, "other-fleet")
    if now >= found.expires_at:
        raise _refused(f"the certificate expired at {found.expires_at}", folder, "expired")
    pinned = _authority(folder)
    if pinned.exists() and pinned.read_bytes() != given.authority_pem:
        raise _refused("the pass is of another fleet than this folder", folder, "other-fleet")
    if given.release_root and _release_root(folder) not in (b"", given.release_root):
        raise _refused("the pass has another root of releases", folder, "other-root")
    make_private_folder(pinned.parent)
    write_private(pinned, given.authority_pem)
    if given.release_root:
        write_private(pinned.parent / "release-root.json", given.release_root)
    FleetDir(folder).write(FleetFile(api=given.api, announce=given.announce, hosts={}))
    write_private(_identity(folder), key_pem + given.certificate_pem)
    _key(folder).unlink(missing_ok=True)
    (folder / f"{found.identity.name}.request").unlink(missing_ok=True)
    return found


def _requested_key(folder: Path, given: OperatorPass) -> bytes:
    """The key of the request.  Once the pass is accepted it stands in the identity alone, and who
    was killed right then accepts the same again.
    """
    identity = _identity(folder)
    if identity.exists() and not _key(folder).exists():
        pem = read_private(identity, hint="'p2pctl auth request' makes another")
        if pem.endswith(given.certificate_pem):
            return pem.removesuffix(given.certificate_pem)
    return read_private(_key(folder), hint="'p2pctl auth request' makes it")


def authority_of(folder: Path) -> str:
    """A short name of what *folder* believes, which two people read to each other.

    Of the CA and the root of releases: whoever could put in another root of his own would say
    which releases, and whose keys, count for who signs in that folder.
    """
    pem = read_private(_authority(folder), hint="it is the fleet's CA")
    both = bytes.fromhex(fingerprint(pem)) + hashlib.sha256(_release_root(folder)).digest()
    return hashlib.sha256(both).hexdigest()[:_FINGERPRINT_DIGITS]


def renew_key() -> tuple[bytes, bytes]:
    """A fresh private key in PEM, and the signing request for it."""
    key = new_key()
    return key_to_pem(key), signing_request(key)


def write_issued(folder: Path, key_pem: bytes, issued: IssuedOperator) -> None:
    """Replace the identity in *folder* in one step.

    Raises:
        TrustError: what was issued is not for that key, or not of this fleet; nothing changed.
    """
    found = operator_certificate(issued.certificate_pem)
    is_ours = found.key_fingerprint == key_fingerprint(key_pem=key_pem)
    if not is_ours or not is_issued_by(issued.certificate_pem, _authority(folder).read_bytes()):
        raise _refused("what was issued is not for our key", folder, "other-key")
    write_private(_identity(folder), key_pem + issued.certificate_pem)


def _refused(message: str, folder: Path, code: str) -> TrustError:
    return TrustError(message, where=str(folder), hint="nothing was changed", code=code)


def _text(document: OperatorRequest | OperatorPass) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document)) + b"\n"


def _release_root(folder: Path) -> bytes:
    """Empty when there is none: an operator who publishes nothing needs it not."""
    if not (folder / "ca" / "release-root.json").exists():
        return b""
    return read_release_root(folder)


def _key(folder: Path) -> Path:
    return folder / "operator" / "operator.key"


def _identity(folder: Path) -> Path:
    return folder / "operator" / "operator.pem"


def _authority(folder: Path) -> Path:
    return folder / "ca" / "fleet.pem"
