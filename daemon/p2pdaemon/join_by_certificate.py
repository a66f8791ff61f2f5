"""``p2pdaemon join --certificate``: become a host by a certificate of the company's own CA.

The certificate goes along in the request, and its key signs the whole of it; neither is used in a
connection.  Which control plane is the right one must be said, since there is no token to say it.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from p2pdaemon.config import DaemonConfig
from p2pdaemon.enrolment_client import find_authority, open_enrolment
from p2pdaemon.join import already_joined, keep_joined
from p2pdaemon.state_lock import only_daemon
from p2pdeploy.codec import encode
from p2pdeploy.errors import ConfigError
from p2pdeploy.messages.enrolment_company import (
    CHAIN_MAX,
    CompanyEnrolRequest,
    CompanyStatement,
    company_signed_part,
)
from p2pdeploy.trust.certificates import fingerprint
from p2pdeploy.trust.host_keys import new_attestation_key, new_leaf_keys

__all__ = [
    "CompanyCertificate",
    "join_by_certificate",
    "load_company_certificate",
    "read_pin",
]

_PEM_BYTES_MAX = 64 * 1024  # a chain of four and a key are some 15 KiB
_DAMAGED = (ValueError, TypeError, UnsupportedAlgorithm)

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")

CompanyKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class CompanyCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """``chain`` in DER, the host's own first, and the key of that."""

    chain: tuple[bytes, ...]
    key: CompanyKey

    def sign(self, statement: bytes) -> CompanyEnrolRequest:
        """A request that whoever has the company's CA can check."""
        signed = company_signed_part(statement)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        else:
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
            signature = self.key.sign(signed, pss, hashes.SHA256())
        return CompanyEnrolRequest(statement=statement, chain=self.chain, signature=signature)


async def join_by_certificate(
    config: DaemonConfig,
    certificate: CompanyCertificate,
    pinned: str,
    *,
    again: bool = False,
) -> str:
    """Join the fleet at ``config.api``; returns what to tell the user.

    Nothing is written before everything is there.  A host that has joined already is left as it
    is, unless *again*.

    Args:
        config: The host's; its name must be the certificate's.
        certificate: The company's word on this host.
        pinned: SHA-256 of the fleet CA's certificate in hexadecimal: who else answers is refused.
        again: Join anew, though there is an identity already.

    Raises:
        TrustError: the certificate is refused, nobody opened a join for this host, or whoever
            answers has another fleet CA.
        RefusedError: this fleet takes tokens only; or the daemon runs, as in ``join``.
        UnavailableError: no answer.
        OSError: the identity can't be written.
    """
    said = None if again else already_joined(config)
    if said is not None:
        return said
    authority_pem = await find_authority(config.api, pinned, address=config.address)
    key, keys = new_attestation_key(config.name), new_leaf_keys()
    statement = CompanyStatement(
        authority=bytes.fromhex(fingerprint(authority_pem)),
        host=config.name,
        public_key=key.public_key,
        requests=keys.requests,
        asked_at=time.time(),
    )
    request = certificate.sign(encode(statement))
    with only_daemon(config.state_dir):
        async with open_enrolment(config.api, authority_pem, address=config.address) as client:
            issued = await client.enrol_by_company(request)
        return keep_joined(config, key, keys, issued, authority_pem)


def load_company_certificate(certificate: Path, key: Path) -> CompanyCertificate:
    """Read a chain and its key, both PEM; the key unencrypted.

    Raises:
        ConfigError: a file is missing or something else, or key and certificate don't match.
    """
    try:
        chain = x509.load_pem_x509_certificates(_read(certificate))
        private = serialization.load_pem_private_key(_read(key), password=None)
        public_key = chain[0].public_key()
    except _DAMAGED as error:
        raise ConfigError(
            f"not a certificate and an unencrypted key in PEM: {error}", where=str(certificate)
        ) from error
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ConfigError("the key is neither EC nor RSA", where=str(key))
    if private.public_key() != public_key:
        raise ConfigError("this is not the certificate's key", where=str(key))
    if len(chain) > CHAIN_MAX:
        raise ConfigError(
            f"{len(chain)} certificates, at most {CHAIN_MAX}",
            where=str(certificate),
            hint="the host's own first, then those that issued it; the root is not needed",
        )
    encoding = serialization.Encoding.DER
    return CompanyCertificate(
        chain=tuple(each.public_bytes(encoding) for each in chain), key=private
    )


def read_pin(authority: str) -> str:
    """The SHA-256 of the fleet CA's certificate: of the file *authority*, or as it says itself.

    Raises:
        ConfigError: it is neither.
    """
    digits = authority.replace(":", "").lower()
    if _FINGERPRINT.fullmatch(digits):
        return digits
    try:
        return fingerprint(_read(Path(authority)))
    except ValueError as error:
        raise ConfigError(f"not a certificate in PEM: {error}", where=authority) from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_PEM_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from error
