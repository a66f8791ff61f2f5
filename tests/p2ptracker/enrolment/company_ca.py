"""A company's CA, and the certificates that it might give out: right ones and wrong ones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from p2pdaemon.join_by_certificate import CompanyCertificate, CompanyKey

DOMAIN = "prod.example.com"
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
ANY_USE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
DAY = dt.timedelta(days=1)
ENCODING = serialization.Encoding
SIGNS = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
SIGNS_NO_CERTIFICATES = x509.KeyUsage(True, False, False, False, False, False, True, False, False)


class CompanyCa(msgspec.Struct, frozen=True):
    """A CA and what leads from it to the root."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    issuers: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(ENCODING.PEM)

    def below(
        self,
        *,
        permitted: Sequence[str] = (),
        path_length: int | None = 0,
        usage: x509.KeyUsage | None = SIGNS,
    ) -> CompanyCa:
        """A CA that this one issued, for names below *permitted* only."""
        key = new_key()
        builder = authority(key, "Example Issuing CA", self.certificate.subject, path_length, usage)
        if permitted:
            names = [x509.DNSName(name) for name in permitted]
            constraints = x509.NameConstraints(permitted_subtrees=names, excluded_subtrees=None)
            builder = builder.add_extension(constraints, critical=True)
        issued = builder.add_extension(issuer_of(self.key), critical=False)
        certificate = issued.sign(self.key, hashes.SHA256())
        return CompanyCa(key, certificate, (certificate, *self.issuers))

    def issue(
        self,
        *names: str,
        key: CompanyKey | None = None,
        usages: Sequence[x509.ObjectIdentifier] = (CLIENT, SERVER),
        age: dt.timedelta = DAY,
        life: dt.timedelta = 30 * DAY,
        is_ca: bool = False,
    ) -> CompanyCertificate:
        """A certificate for *names*."""
        key = key or new_key()
        began = now() - age
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "h01")]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + life)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(issuer_of(self.key), critical=False)
        )
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return certificate_with(key, certificate, *self.issuers)


def certificate_with(key: CompanyKey, *chain: x509.Certificate) -> CompanyCertificate:
    return CompanyCertificate(
        chain=tuple(each.public_bytes(ENCODING.DER) for each in chain), key=key
    )


def new_company(name: str = "Example Root CA", usage: x509.KeyUsage | None = SIGNS) -> CompanyCa:
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return CompanyCa(key, authority(key, name, subject, None, usage).sign(key, hashes.SHA256()))


def authority(
    key: ec.EllipticCurvePrivateKey,
    name: str,
    issuer: x509.Name,
    path_length: int | None,
    usage: x509.KeyUsage | None,
) -> x509.CertificateBuilder:
    subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - DAY)
        .not_valid_after(now() + 365 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(subject_key, critical=False)
    )
    return builder if usage is None else builder.add_extension(usage, critical=True)


def issuer_of(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def new_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


def write_pem(folder: Path, certificate: CompanyCertificate) -> tuple[Path, Path]:
    """The chain and the key as files, as a company's agent leaves them on a host."""
    chain = [x509.load_der_x509_certificate(der) for der in certificate.chain]
    folder.mkdir(parents=True, exist_ok=True)
    pem, key = folder / "host.pem", folder / "host.key"
    pem.write_bytes(b"".join(each.public_bytes(ENCODING.PEM) for each in chain))
    key.write_bytes(
        certificate.key.private_bytes(
            ENCODING.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pem, key


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
