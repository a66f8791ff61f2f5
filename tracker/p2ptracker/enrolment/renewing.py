"""Whether a renewal is who it says: pure, so that every way to cheat can be tried."""

from __future__ import annotations

from p2pdeploy.codec import decode
from p2pdeploy.errors import TrustError
from p2pdeploy.limits import ENVELOPE_BYTES_MAX
from p2pdeploy.messages.enrolment import (
    RENEWAL_AGE_S_MAX,
    RenewRequest,
    renewal_signed_part,
)
from p2pdeploy.trust.credential import CREDENTIAL_BYTES_MAX, Credential
from p2pdeploy.trust.envelope import Envelope, Verifier, open_envelope
from p2pdeploy.trust.signing import is_signed
from p2ptracker.enrolment.standing import Standing

__all__ = ["require_renewable"]


def require_renewable(
    request: RenewRequest, verifier: Verifier, standing: Standing, fleet: str, *, now: float
) -> Credential:
    """The credential of *request*, whose key signed it a moment ago.

    The key that a host enrolled with is on record, and no other renews: so who stole the key that
    seals credentials can't have his own sealed anew when that one is rotated, and a host that was
    away through a rotation comes back with the credential it has.

    A replay inside the time that is allowed does no harm: the certificates that come back are for
    keys that only the first sender has.

    Raises:
        TrustError: forged, another fleet's, signed by another key, too old or from a clock that
            runs ahead, or its host was revoked, enrolled anew, or taken out of the inventory.
        ProtocolError: the credential is malformed.
    """
    credential = _credential_in(request, verifier, standing, fleet)
    signed = renewal_signed_part(request.requests, request.asked_at)
    if not is_signed(credential.public_key, signed, request.signature):
        raise TrustError(f"not signed with the key of {credential.host!r}", code="bad-signature")
    if not abs(now - request.asked_at) <= RENEWAL_AGE_S_MAX:  # NaN is no time either
        raise TrustError(
            f"asked at {request.asked_at:.0f}, it is {now:.0f} here",
            hint="set the host's clock",
            code="stale-request",
        )
    if not standing.is_believed(credential.host, credential.enrolment):
        raise TrustError(
            f"{credential.host!r} was revoked, or enrolled anew since",
            hint="enrol it anew: p2pctl enroll token --host " + credential.host,
            code="revoked",
        )
    return credential


def _credential_in(
    request: RenewRequest, verifier: Verifier, standing: Standing, fleet: str
) -> Credential:
    credential = _unjudged(request.credential)
    known = standing.enrolments.get(credential.host)
    if known is None or not known.public_key:  # it did not enrol here, or before a backup
        open_envelope(request.credential, verifier)
    elif (credential.enrolment, credential.public_key) != (known.enrolment, known.public_key):
        code = "revoked" if credential.enrolment < known.enrolment else "bad-credential"
        raise TrustError(f"{credential.host!r} did not enrol with this key", code=code)
    if credential.fleet != fleet:
        raise TrustError("no credential of this fleet", code="bad-credential")
    return credential


def _unjudged(sealed: bytes) -> Credential:
    envelope = decode(sealed, Envelope, bytes_max=ENVELOPE_BYTES_MAX)
    return decode(envelope.payload, Credential, bytes_max=CREDENTIAL_BYTES_MAX)
