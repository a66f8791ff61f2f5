"""Certificates that strangers send to join by a company's CA: the host's own, and its issuer's."""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from p2pdeploy.codec import encode
from p2pdeploy.errors import TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.enrolment import SigningRequests
from p2pdeploy.messages.enrolment_company import (
    CompanyEnrolRequest,
    CompanyStatement,
    company_signed_part,
)
from p2ptracker.enrolment.company import CompanyAuthority
from tests.fuzz.decoder import Decoder
from tests.p2pdeploy.trust.release_fleet import NOON

_DOMAIN = "prod.example.com"
_ROOT_KEY, _ISSUER_KEY, _LEAF_KEY = (
    ec.derive_private_key(2**200 + number, ec.SECP256R1()) for number in (11, 12, 13)
)
_ROOT_NAME, _ISSUER_NAME, _LEAF_NAME = (
    x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("root", "issuer", "h1")
)


def _certificate(
    name: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    by: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """The same bytes in every run; everybody but the leaf is a CA."""
    is_ca = name != _LEAF_NAME
    public_key, by_key = key.public_key(), by.public_key()
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=is_ca, path_length=None), True),
        (x509.KeyUsage(not is_ca, False, False, False, False, is_ca, is_ca, False, False), True),
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(by_key), False),
    ]
    if not is_ca:
        names = [x509.DNSName(f"h1.{_DOMAIN}")]
        extensions.append((x509.SubjectAlternativeName(names), False))
        extensions.append((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False))
    day = dt.timedelta(days=1)
    builder = x509.CertificateBuilder(issuer, name, public_key, 7, NOON - day, NOON + day)
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(by, hashes.SHA256(), ecdsa_deterministic=True)


_ROOT = _certificate(_ROOT_NAME, _ROOT_KEY, _ROOT_NAME, _ROOT_KEY)
_ISSUER, _LEAF = (
    certificate.public_bytes(serialization.Encoding.DER)
    for certificate in (
        _certificate(_ISSUER_NAME, _ISSUER_KEY, _ROOT_NAME, _ROOT_KEY),
        _certificate(_LEAF_NAME, _LEAF_KEY, _ISSUER_NAME, _ISSUER_KEY),
    )
)
_AUTHORITY = CompanyAuthority([_ROOT], _DOMAIN)
_STATEMENT = encode(
    CompanyStatement(
        authority=b"f" * 32,
        host=HostName("h1"),
        public_key=b"k" * 32,
        requests=SigningRequests(fleet=b"", swarm=b""),
        asked_at=NOON.timestamp(),
    )
)
_SIGNATURE = _LEAF_KEY.sign(
    company_signed_part(_STATEMENT), ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
)


def _require(*chain: bytes, signature: bytes = _SIGNATURE) -> None:
    request = CompanyEnrolRequest(statement=_STATEMENT, chain=chain, signature=signature)
    _AUTHORITY.require_host(request, b"f" * 32, now=NOON.timestamp())


COMPANY_DECODERS = tuple(
    Decoder(name=name, read=read, form="binary", honest=honest, refuses=(TrustError,))
    for name, read, honest in (
        ("company-certificate", lambda data: _require(data, _ISSUER), (_LEAF, _ISSUER)),
        ("company-issuer", lambda data: _require(_LEAF, data), (_ISSUER, _LEAF)),
        (
            "company-signature",
            lambda data: _require(_LEAF, _ISSUER, signature=data),
            (_SIGNATURE,),
        ),
    )
)
