"""Hosts that a company's own CA knows: whether a request is by the host that it names.

The roots are trusted for this alone, never in a connection.  Names come out of it, nothing else:
what a host may be stands in the inventory, and whether it may join at all is an operator's word.

Sources: RFC 5280 (paths, name constraints), RFC 6125 6.4 (DNS names), and
``cryptography.x509.verification`` for building and judging the path.
"""

from __future__ import annotations

import datetime as dt
import stat
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from p2pdeploy.codec import decode
from p2pdeploy.errors import ConfigError, P2PDeployError, TrustError
from p2pdeploy.ids import HostName, check_label
from p2pdeploy.messages.enrolment import RENEWAL_AGE_S_MAX
from p2pdeploy.messages.enrolment_company import (
    CHAIN_MAX,
    COMPANY_STATEMENT_BYTES_MAX,
    CompanyEnrolRequest,
    CompanyStatement,
    company_signed_part,
)

__all__ = ["CompanyAuthority", "load_company_authority"]

_ROOTS_BYTES_MAX = 256 * 1024  # a few certificates of 2 KiB; a folder's worth is a mistake
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
# All that the library raises over a certificate or a key that is none; the last where warnings are
# errors, over a serial number that is not positive.
_DAMAGED = (
    ValueError,
    x509.InvalidVersion,
    UnsupportedAlgorithm,
    InternalError,
    CryptographyDeprecationWarning,
)


class CompanyAuthority:
    """The CAs of a company, and the DNS domain whose names are hosts of this fleet.

    Args:
        roots: CA certificates.
        domain: A host's certificate says ``NAME.domain``, NAME being the inventory's.
    """

    def __init__(self, roots: Sequence[x509.Certificate], domain: str) -> None:
        of_hosts = ExtensionPolicy.webpki_defaults_ee().require_present(
            x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _demand_client
        )
        # Without a key usage a CA may sign certificates (RFC 5280 6.1.4 n): many a root has none.
        of_authorities = ExtensionPolicy.webpki_defaults_ca().may_be_present(
            x509.KeyUsage, Criticality.AGNOSTIC, _demand_signer
        )
        self._policy = (
            PolicyBuilder()
            .store(Store(list(roots)))
            .max_chain_depth(CHAIN_MAX)
            .extension_policies(ca_policy=of_authorities, ee_policy=of_hosts)
        )
        self._suffix = "." + domain.lower()

    def __repr__(self) -> str:
        return f"<CompanyAuthority for *{self._suffix}>"

    def require_host(
        self, request: CompanyEnrolRequest, authority: bytes, *, now: float
    ) -> CompanyStatement:
        """What the host of *request* asks for, and proved to be the one who asks.

        Args:
            request: As it came.
            authority: SHA-256 of our fleet CA's certificate.
            now: Seconds since the epoch.

        Raises:
            TrustError: for another fleet, too old, the certificate is not of this company, has
                expired or is not for clients, names no host or several, or another than the
                request, or the signature is not by its key.
            ProtocolError: the statement is malformed.
        """
        said = decode(request.statement, CompanyStatement, bytes_max=COMPANY_STATEMENT_BYTES_MAX)
        if said.authority != authority:
            raise TrustError("the request is for another fleet", code="other-fleet")
        if not abs(now - said.asked_at) <= RENEWAL_AGE_S_MAX:  # NaN is no time either
            raise TrustError(
                f"asked at {said.asked_at:.0f}, it is {now:.0f} here",
                hint="set the host's clock",
                code="stale-request",
            )
        leaf, names = self._leaf_of(request.chain, now)
        named = self._host_in(names)
        if named != said.host:
            raise TrustError(
                f"the certificate is of {named!r}",
                where=said.host,
                hint="names come from the inventory: correct 'name' in daemon.toml",
                code="certificate-other-host",
            )
        _require_signed(leaf, company_signed_part(request.statement), request.signature)
        return said

    def _leaf_of(
        self, chain: Sequence[bytes], now: float
    ) -> tuple[x509.Certificate, x509.SubjectAlternativeName]:
        moment = dt.datetime.fromtimestamp(now, dt.UTC)
        try:
            leaf, *issuers = (x509.load_der_x509_certificate(der) for der in chain)
            self._policy.time(moment).build_client_verifier().verify(leaf, issuers)
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (VerificationError, x509.ExtensionNotFound, *_DAMAGED) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else "malformed"
            raise TrustError(
                f"not a valid client certificate of the company's CA: {reason}",
                hint="is it a certificate for clients, and has it expired?",
                code="certificate-refused",
            ) from error
        return leaf, names

    def _host_in(self, names: x509.SubjectAlternativeName) -> HostName:
        """The one host among *names*; a common name counts for nothing."""
        found = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
        ours = [name for name in found if name.endswith(self._suffix)]
        if len(ours) != 1:
            raise TrustError(
                f"the certificate has {len(ours)} names that end in {self._suffix!r}, not one",
                code="certificate-name",
            )
        try:
            return HostName(check_label(ours[0].removesuffix(self._suffix), "host name"))
        except P2PDeployError as error:  # a wildcard, or a name further down
            raise TrustError(error.message, hint=error.hint, code="certificate-name") from error


def _demand_client(
    _policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage
) -> None:
    """Any-purpose certificates are refused as well: they were not meant for this."""
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("not for clients")


def _demand_signer(
    _policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None
) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("not for signing certificates")


def _require_signed(leaf: x509.Certificate, signed: bytes, signature: bytes) -> None:
    try:
        key = leaf.public_key()
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
            key.verify(signature, signed, pss, hashes.SHA256())
        else:
            raise TrustError("the certificate's key is neither EC nor RSA", code="bad-signature")
    except (InvalidSignature, *_DAMAGED) as error:
        raise TrustError("not signed with the certificate's key", code="bad-signature") from error


def load_company_authority(path: Path, domain: str) -> CompanyAuthority:
    """Read the CA certificates in *path* (PEM).

    Raises:
        ConfigError: it is missing, others may write it, or it holds anything but CA certificates.
    """
    try:
        if path.stat().st_mode & _WRITABLE_BY_OTHERS:
            raise ConfigError("others may write it", where=str(path), hint=f"chmod go-w {path}")
        with path.open("rb") as file:
            text = file.read(_ROOTS_BYTES_MAX + 1)
        if len(text) > _ROOTS_BYTES_MAX:  # cut off it might still read, as fewer
            raise ConfigError(f"larger than {_ROOTS_BYTES_MAX} bytes", where=str(path))
        roots = x509.load_pem_x509_certificates(text)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except _DAMAGED as error:
        raise ConfigError(f"not certificates in PEM: {error}", where=str(path)) from error
    for root in roots:
        if not _is_authority(root):
            # A leaf in the store would be believed without any CA.
            name = root.subject.rfc4514_string()
            raise ConfigError(f"{name} is no CA certificate", where=str(path))
    return CompanyAuthority(roots, domain)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *_DAMAGED):
        return False
