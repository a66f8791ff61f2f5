"""X.509 of a fleet: its authorities, and the leaves they issue.

Two authorities, and neither is accepted where the other is asked for: the *fleet* CA for
everything people and programs say to each other, the *swarm* CA for BitTorrent connections.
Keys are NIST P-256: every TLS policy takes them.

Names come from the caller, who has them from the inventory; a signing request gives its public
key and nothing else.

Source: RFC 5280; the X.509-SVID standard for the URI in the subject alternative names.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from p2pdeploy.errors import TrustError
from p2pdeploy.trust.identity import ControlPlaneId, Identity, OperatorId, spiffe_id

__all__ = [
    "AUTHORITY_LIFETIME",
    "BACKDATED",
    "CONTROL_PLANE_LIFETIME",
    "HOST_LIFETIME",
    "OPERATOR_LIFETIME",
    "Authority",
    "fingerprint",
    "issue_leaf",
    "issue_swarm_leaf",
    "key_from_pem",
    "key_to_pem",
    "new_authority",
    "new_key",
    "public_key_of_request",
    "signing_request",
]

AUTHORITY_LIFETIME = dt.timedelta(days=3650)  # a new CA reaches every host; ten years is a plan
HOST_LIFETIME = dt.timedelta(hours=24)  # a stolen key is worth a day; renewed at half of it
OPERATOR_LIFETIME = dt.timedelta(days=30)  # people come back from holidays; a leaver is revoked
CONTROL_PLANE_LIFETIME = dt.timedelta(days=90)  # issued anew at each start that finds half gone
BACKDATED = dt.timedelta(minutes=5)  # clocks of new hosts are not synchronised yet
_REQUEST_BYTES_MAX = 4_096  # a P-256 request is 300 bytes
# All that the library raises over a request that is none.
_DAMAGED = (ValueError, x509.InvalidVersion, UnsupportedAlgorithm, InvalidSignature, InternalError)
_SWARM_NAME = "*"  # libtorrent compares a peer's DNS name with the torrent's; this one fits all


class Authority(msgspec.Struct, frozen=True):
    """A CA that can sign.  ``key`` never leaves the control plane."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        """The public half, as others pin it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The private key, unencrypted: what protects it is the mode of its file."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def key_from_pem(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read what :func:`key_to_pem` wrote.  Raises TrustError: it is something else."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as error:
        raise TrustError(f"not a private key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TrustError("not a P-256 private key")
    return key


def new_authority(name: str, *, now: dt.datetime) -> Authority:
    """A CA that signs leaves and no further CA.

    Args:
        name: Its common name, as people see it (``FLEET fleet CA``).
        now: The time, with a zone.
    """
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        _builder(subject, subject, key.public_key(), now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(key, builder.sign(key, hashes.SHA256()))


def signing_request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A PKCS #10 request in DER without any name: it proves that its maker holds *key*."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def issue_leaf(
    authority: Authority,
    request: bytes,
    identity: Identity,
    *,
    addresses: Sequence[str],
    roles: Sequence[str] = (),
    enrolment: int = 0,
    lifetime: dt.timedelta,
    now: dt.datetime,
) -> bytes:
    """A certificate in PEM for whoever made *request*, speaking for *identity*.

    Args:
        authority: The fleet CA.
        request: From :func:`signing_request`; only its public key is taken.
        identity: The one URI of the certificate.
        addresses: IP addresses that it serves on; none for operators.
        roles: What an operator may do; stands in the subject as O attributes.
        enrolment: Which enrolment of a host this is; stands in the subject as serialNumber.
        lifetime: How long it holds.
        now: The time, with a zone.

    Raises:
        TrustError: *request* is malformed, its signature is wrong, or its key is not P-256.
    """
    common = identity.name if isinstance(identity, OperatorId) else _last_segment(identity)
    names = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, role) for role in roles]
    if enrolment:
        names.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, str(enrolment)))
    alternatives: list[x509.GeneralName] = [x509.UniformResourceIdentifier(spiffe_id(identity))]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    serves = [] if isinstance(identity, OperatorId) else [ExtendedKeyUsageOID.SERVER_AUTH]
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *serves]
    return _issue(authority, request, x509.Name(names), alternatives, usages, lifetime, now)


def issue_swarm_leaf(authority: Authority, request: bytes, host: str, *, now: dt.datetime) -> bytes:
    """A certificate in PEM that opens SSL torrents under the swarm CA and nothing else.

    Raises:
        TrustError: as :func:`issue_leaf`.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    names: list[x509.GeneralName] = [x509.DNSName(_SWARM_NAME)]
    return _issue(authority, request, subject, names, usages, HOST_LIFETIME, now)


def fingerprint(certificate_pem: bytes) -> str:
    """SHA-256 of the DER form in hexadecimal: what a join token pins."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def _issue(
    authority: Authority,
    request: bytes,
    subject: x509.Name,
    alternatives: Sequence[x509.GeneralName],
    usages: Sequence[x509.ObjectIdentifier],
    lifetime: dt.timedelta,
    now: dt.datetime,
) -> bytes:
    key, issuer = public_key_of_request(request), authority.certificate
    of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _builder(subject, issuer.subject, key, now, lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(of_issuer, critical=False)
    )
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def public_key_of_request(request: bytes) -> ec.EllipticCurvePublicKey:
    """The key of whoever made *request*; raises TrustError as :func:`issue_leaf`."""
    if len(request) > _REQUEST_BYTES_MAX:
        raise TrustError(f"a signing request above {_REQUEST_BYTES_MAX} bytes")
    try:
        parsed = x509.load_der_x509_csr(request)
        key, is_signed = parsed.public_key(), parsed.is_signature_valid
    except _DAMAGED as error:
        raise TrustError(f"not a signing request: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TrustError("the signing request's key is not P-256")
    if not is_signed:
        raise TrustError("the signing request is not signed with its own key")
    return key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    lifetime: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _last_segment(identity: Identity) -> str:
    return (
        "control-plane"
        if isinstance(identity, ControlPlaneId)
        else spiffe_id(identity).rpartition("/")[2]
    )
