"""Enrolment: how a host gets its identity, and keeps it.

``POST /v1/enrolment`` with an :class:`EnrolRequest`, and ``POST /v1/enrolment/renew`` with a
:class:`RenewRequest`, both as msgpack; the answer to either is an :class:`IssuedIdentity`.  They
are the two calls that a host makes without a client certificate: the first proves itself by a
join token, the second by a signature of the host's attestation key.  So an expired certificate
never locks a host out: renewing and coming back after expiry are one path.

All keys are made on the host.  What the certificates say comes from the inventory, never from
the requests.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from p2pdeploy.codec import encode
from p2pdeploy.trust.bundle import TrustBundle

__all__ = [
    "ENROLMENT_BYTES_MAX",
    "RENEWAL_AGE_S_MAX",
    "EnrolRequest",
    "IssuedIdentity",
    "RenewRequest",
    "SigningRequests",
    "renewal_signed_part",
]

ENROLMENT_BYTES_MAX = 8 * 1024  # two signing requests of 300 bytes, a credential, a key
RENEWAL_AGE_S_MAX = 600.0  # a host whose clock is further off asks for the time first

_Request = Annotated[bytes, msgspec.Meta(max_length=2_048)]
_Key = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class SigningRequests(msgspec.Struct, frozen=True, kw_only=True):
    """PKCS #10 in DER: ``fleet`` for the fleet CA, ``swarm`` for the swarm CA."""

    fleet: _Request
    swarm: _Request


class EnrolRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``token`` is the secret of a join token; ``public_key`` the host's attestation key."""

    token: Annotated[str, msgspec.Meta(max_length=256)]
    public_key: _Key
    requests: SigningRequests


class RenewRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``signature`` is by the key of ``credential``, over :func:`renewal_signed_part`.

    ``asked_at``: seconds since the epoch.  A replay brings its sender certificates for keys that
    it doesn't have.
    """

    credential: Annotated[bytes, msgspec.Meta(max_length=1_024)]
    requests: SigningRequests
    asked_at: float
    signature: _Signature


class IssuedIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What a host presents: certificates in PEM, and the credential its attestations carry."""

    credential: bytes
    certificate_pem: bytes
    swarm_certificate_pem: bytes
    bundle: TrustBundle


def renewal_signed_part(requests: SigningRequests, asked_at: float) -> bytes:
    """What a renewal's signature covers."""
    return b"p2pdeploy/renew/1 %r " % asked_at + encode(requests)
