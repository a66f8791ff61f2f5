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
from p2pdeploy.ids import HostName
from p2pdeploy.limits import ENVELOPE_BYTES_MAX
from p2pdeploy.trust.bundle import TrustBundle
from p2pdeploy.trust.cell_keys import KEYS_ASKED_EVERY_S, CellKeys

__all__ = [
    "CELL_TRUST_BYTES_MAX",
    "ENROLMENT_BYTES_MAX",
    "JOIN_SECRET_BYTES",
    "LAN_SERVICE",
    "RENEWAL_AGE_S_MAX",
    "CellTrust",
    "EnrolRequest",
    "IssuedIdentity",
    "RenewRequest",
    "SigningRequests",
    "renewal_signed_part",
]

ENROLMENT_BYTES_MAX = 8 * 1024  # two signing requests of 300 bytes, a credential, a key
CELL_TRUST_BYTES_MAX = ENVELOPE_BYTES_MAX + 4 * 1024  # and a ring of keys
JOIN_SECRET_BYTES = 32  # 256 bit: not to be guessed, whatever the rate
RENEWAL_AGE_S_MAX = 600.0  # a host whose clock is further off asks for the time first

LAN_SERVICE = "_p2pdeploy._tcp.local."  # how a control plane announces itself, if it does

_Request = Annotated[bytes, msgspec.Meta(max_length=2_048)]
_Key = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class SigningRequests(msgspec.Struct, frozen=True, kw_only=True):
    """PKCS #10 in DER: ``fleet`` for the fleet CA, ``swarm`` for the swarm CA."""

    fleet: _Request
    swarm: _Request


class EnrolRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``secret`` is the join token's; ``public_key`` the host's attestation key.

    ``host`` is who the caller believes to be: a token of another host is refused, and not used up.
    """

    host: Annotated[HostName, msgspec.Meta(max_length=63)]
    secret: Annotated[bytes, msgspec.Meta(max_length=JOIN_SECRET_BYTES)]
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
    """What a host presents: certificates in PEM, and the credential its attestations carry.

    The host judges *releases* by itself before it believes anything that is sealed.  Both
    certificates hold from ``issued_at`` to ``expires_at``, in seconds since the epoch by the
    control plane's clock.
    """

    issued_at: float
    expires_at: float
    credential: bytes
    certificate_pem: bytes
    swarm_certificate_pem: bytes
    bundle: TrustBundle
    cell_keys: CellKeys
    releases: bytes = b""  # a ReleaseBundle without a service: who signs orders stands in it


class CellTrust(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to ``GET /v1/cells/CELL/trust``, which each host of the cell asks once a minute.

    ``revocations`` is sealed; ``cell_keys`` is secret, and a host that is revoked gets no answer.
    ``targets_version``: of the document that says who signs orders; a host that knows another one
    fetches and judges it.  ``ask_every_s``: three asks of a host fit into a step of a rotation.
    """

    revocations: Annotated[bytes, msgspec.Meta(max_length=ENVELOPE_BYTES_MAX)]
    cell_keys: CellKeys
    targets_version: int = 0
    ask_every_s: float = KEYS_ASKED_EVERY_S


def renewal_signed_part(requests: SigningRequests, asked_at: float) -> bytes:
    """What a renewal's signature covers."""
    return b"p2pdeploy/renew/1 %r " % asked_at + encode(requests)
