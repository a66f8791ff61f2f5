"""Certificates of people and jobs: asked for, issued, renewed, listed, taken back.  All JSON.

==============================================  =============================================
``GET /v1/operators``                           list[:class:`OperatorView`]
``POST /v1/operators``                          :class:`IssueRequest` -> :class:`IssuedOperator`
``POST /v1/operators/renewal``                  :class:`RenewalRequest` -> :class:`IssuedOperator`
``POST /v1/operators/revocation``               :class:`RevocationRequest` -> \
list[:class:`OperatorView`]
==============================================  =============================================

Two documents go from person to person as files: :class:`OperatorRequest` to an admin, and
:class:`OperatorPass` back.  Neither holds a secret.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

__all__ = [
    "DAYS_MAX",
    "PASS_BYTES_MAX",
    "REQUEST_BYTES_MAX",
    "ROLES_MAX",
    "IssueRequest",
    "IssuedOperator",
    "OperatorPass",
    "OperatorRequest",
    "OperatorView",
    "RenewalRequest",
    "RevocationRequest",
]

DAYS_MAX = 30  # a certificate that is lost and not missed is worth a month
ROLES_MAX = 16  # a publisher of more services is one of publisher:*
REQUEST_BYTES_MAX = 16 * 1024  # a signing request of 300 bytes and a few roles
PASS_BYTES_MAX = 64 * 1024  # two certificates, and a root of releases of at most 32 KiB

_Name = Annotated[str, msgspec.Meta(max_length=63)]
_Role = Annotated[str, msgspec.Meta(max_length=80)]  # publisher: and a service
_Roles = Annotated[tuple[_Role, ...], msgspec.Meta(max_length=ROLES_MAX)]
_Signing = Annotated[bytes, msgspec.Meta(max_length=4_096)]  # PKCS #10, DER
_Days = Annotated[int, msgspec.Meta(ge=1, le=DAYS_MAX)]


class OperatorRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody asks an admin for.  ``roles`` are a wish: the admin says which there are."""

    name: _Name
    roles: _Roles
    request: _Signing


class OperatorPass(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an admin hands back: the certificate, and all that is public of its fleet.

    ``release_root`` is where trust in releases begins; empty when the admin has none.
    """

    api: str
    announce: str
    authority_pem: bytes
    release_root: bytes
    certificate_pem: bytes


class IssueRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An admin's word: *name* gets *roles* for the key in *request*.

    ``replaces``: the certificates that the name has are revoked with it; without that a name
    that is in use is refused.
    """

    name: _Name
    roles: _Roles
    request: _Signing
    days: _Days = DAYS_MAX
    replaces: bool = False


class RenewalRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another key for the caller.  Name and roles are those of the certificate it calls with."""

    request: _Signing


class IssuedOperator(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate as it was issued."""

    name: str
    roles: tuple[str, ...]
    serial: str
    expires_at: datetime
    certificate_pem: bytes


class RevocationRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every certificate of ``name``, or the one with ``serial`` and what it was renewed into."""

    name: _Name = ""
    serial: Annotated[str, msgspec.Meta(max_length=64)] = ""
    reason: Annotated[str, msgspec.Meta(max_length=200)] = ""


class OperatorView(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate.

    ``state``: ``valid``, ``expired`` or ``revoked``.  ``issued_by`` is a SPIFFE id: an admin, the
    operator itself for a renewal, or the control plane for what was made on its machine.
    """

    name: str
    roles: tuple[str, ...]
    serial: str
    state: str
    issued_at: datetime
    expires_at: datetime
    issued_by: str
    renewed_from: str = ""
    revoked_at: datetime | None = None
    reason: str = ""
