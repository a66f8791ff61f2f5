"""Enrolment of a host that a company's own CA knows already, instead of by a join token.

``POST /v1/enrolment/company`` with a :class:`CompanyEnrolRequest` as msgpack; the answer is an
:class:`~p2pdeploy.messages.enrolment.IssuedIdentity`.  The host presents its company certificate
in the body and proves by a signature that it holds the key.  Nothing of the company's CA is
believed in any connection.

What is signed names the fleet's authority, the host, its new attestation key and the time: a
request for one fleet is none for another, and a replay brings its sender certificates for keys
that it does not have.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from p2pdeploy.ids import HostName
from p2pdeploy.messages.enrolment import SigningRequests

__all__ = [
    "CHAIN_MAX",
    "COMPANY_ENROLMENT_BYTES_MAX",
    "COMPANY_STATEMENT_BYTES_MAX",
    "CompanyEnrolRequest",
    "CompanyStatement",
    "company_signed_part",
]

CHAIN_MAX = 4  # the host's own and three issuing CAs; the root stands in the configuration
COMPANY_ENROLMENT_BYTES_MAX = 24 * 1024  # four certificates of RSA-4096, two requests, a signature
COMPANY_STATEMENT_BYTES_MAX = 6 * 1024  # two signing requests of 300 bytes; they may have 2 KiB
_CONTEXT = b"p2pdeploy/enrol-by-company/1 "

_Certificate = Annotated[bytes, msgspec.Meta(max_length=4_096)]
_Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Key = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class CompanyStatement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the company's key signs.

    ``authority``: SHA-256 of the fleet CA's certificate in DER.  ``host``: who the caller believes
    to be; the certificate must say the same.  ``public_key``: the new attestation key.
    ``asked_at``: seconds since the epoch.
    """

    authority: _Digest
    host: Annotated[HostName, msgspec.Meta(max_length=63)]
    public_key: _Key
    requests: SigningRequests
    asked_at: float


class CompanyEnrolRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``statement``: a :class:`CompanyStatement`, encoded; what is read is what was signed.

    ``chain``: certificates in DER, the host's own first, then those that lead to a root.
    ``signature``: by the key of the first, over :func:`company_signed_part`; ECDSA or RSA-PSS
    (salt as long as the digest), both with SHA-256.
    """

    statement: Annotated[bytes, msgspec.Meta(max_length=COMPANY_STATEMENT_BYTES_MAX)]
    chain: Annotated[tuple[_Certificate, ...], msgspec.Meta(min_length=1, max_length=CHAIN_MAX)]
    signature: Annotated[bytes, msgspec.Meta(max_length=1_024)]


def company_signed_part(statement: bytes) -> bytes:
    """What the signature covers; a signature for anything else does not serve."""
    return _CONTEXT + statement
