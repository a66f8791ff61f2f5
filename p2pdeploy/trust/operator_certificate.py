"""What stands in the certificate of a person or a job, and whether it goes with a key or a CA.

For those who look at a certificate that they hold as a file.  Of a connection's other side,
:func:`p2pdeploy.trust.tls.peer_of` tells.
"""

from __future__ import annotations

import datetime as dt
import hashlib

import msgspec
from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import NameOID

from p2pdeploy.errors import TrustError
from p2pdeploy.trust.certificates import key_from_pem, public_key_of_request
from p2pdeploy.trust.identity import OperatorId, identity_of
from p2pdeploy.trust.tls import canonical_serial

__all__ = [
    "OperatorCertificate",
    "is_issued_by",
    "key_fingerprint",
    "operator_certificate",
]

# All that the library raises over a certificate that is none.
_DAMAGED = (
    ValueError,
    UnsupportedAlgorithm,
    CryptographyDeprecationWarning,  # a serial number below 1, where warnings are errors
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_FINGERPRINT_DIGITS = 16  # 64 bits that two people read to each other


class OperatorCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a certificate.  ``serial`` as in :class:`~p2pdeploy.trust.tls.Peer`."""

    identity: OperatorId
    roles: tuple[str, ...]
    serial: str
    issued_at: dt.datetime
    expires_at: dt.datetime
    key_fingerprint: str


def operator_certificate(pem: bytes) -> OperatorCertificate:
    """Read the certificate in *pem*, which may hold a private key before it.

    Raises:
        TrustError: there is none, it is damaged, or it is not an operator's.  Nothing here says
            who issued it: see :func:`is_issued_by`.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        roles = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        key = certificate.public_key()
    except _DAMAGED as error:
        raise TrustError(f"not a certificate: {error}", code="bad-certificate") from error
    identity = identity_of(uris[0]) if len(uris) == 1 else None
    if not isinstance(identity, OperatorId) or not isinstance(key, ec.EllipticCurvePublicKey):
        raise TrustError("the certificate is not an operator's", code="bad-certificate")
    return OperatorCertificate(
        identity=identity,
        roles=tuple(str(role.value) for role in roles),
        serial=canonical_serial(f"{certificate.serial_number:X}"),
        issued_at=certificate.not_valid_before_utc,
        expires_at=certificate.not_valid_after_utc,
        key_fingerprint=_fingerprint(key),
    )


def is_issued_by(pem: bytes, authority_pem: bytes) -> bool:
    """Whether the CA in *authority_pem* signed the certificate in *pem*; its time isn't judged."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        authority = x509.load_pem_x509_certificate(authority_pem)
        certificate.verify_directly_issued_by(authority)
    except (*_DAMAGED, TypeError, InvalidSignature, InternalError):
        return False
    return True


def key_fingerprint(*, key_pem: bytes = b"", request: bytes = b"") -> str:
    """A short name of a public key: the private key's in PEM, or a signing request's in DER.

    Raises:
        TrustError: it is not what it should be.
    """
    key = key_from_pem(key_pem).public_key() if key_pem else public_key_of_request(request)
    return _fingerprint(key)


def _fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()[:_FINGERPRINT_DIGITS]
