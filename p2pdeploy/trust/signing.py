"""Ed25519 keys, and the ids under which the fleet knows them.

A key's id is ``ROLE/DIGEST``, the digest being the first 16 hexadecimal digits of the SHA-256 of
the raw public key; a host's is ``host/NAME``.  The id only finds a key among those that are
trusted already: it proves nothing.

Source: RFC 8032 (Ed25519).
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from p2pdeploy.errors import TrustError

__all__ = ["PUBLIC_KEY_BYTES", "SIGNATURE_BYTES", "SigningKey", "is_signed", "key_id_of"]

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
_SEED_BYTES = 32
_DIGEST_DIGITS = 16  # 64 bit: no two of the dozens of keys of a fleet meet by accident


def key_id_of(role: str, public_key: bytes) -> str:
    """The id of a role's key."""
    return f"{role}/{hashlib.sha256(public_key).hexdigest()[:_DIGEST_DIGITS]}"


class SigningKey:
    """A private key and the id it signs under.

    Args:
        seed: 32 secret bytes (RFC 8032's private key).
        role: Gives the id ``ROLE/DIGEST``.
        key_id: Instead of *role*: a host's id.

    Raises:
        TrustError: *seed* has another length.
    """

    def __init__(self, seed: bytes, *, role: str = "", key_id: str = "") -> None:
        if len(seed) != _SEED_BYTES:
            raise TrustError(f"a signing key has {_SEED_BYTES} bytes, not {len(seed)}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()
        self._key_id = key_id or key_id_of(role, self.public_key)
        self.credential = b""  # a host's own, sealed by the control plane; others have none

    @classmethod
    def generate(cls, *, role: str = "", key_id: str = "") -> SigningKey:
        """A fresh key."""
        seed = Ed25519PrivateKey.generate().private_bytes_raw()
        return cls(seed, role=role, key_id=key_id)

    @classmethod
    def from_pem(cls, pem: bytes, *, role: str = "", key_id: str = "") -> SigningKey:
        """Read what :meth:`to_pem` wrote.  Raises TrustError: it is something else."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as error:
            raise TrustError(f"not a private key: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise TrustError("not an Ed25519 private key")
        return cls(key.private_bytes_raw(), role=role, key_id=key_id)

    def to_pem(self) -> bytes:
        """PKCS #8, unencrypted: what protects it is the mode of its file."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def __repr__(self) -> str:
        return f"<SigningKey {self._key_id}>"

    @property
    def key_id(self) -> str:
        return self._key_id

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(message)


def is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether *signature* over *message* was made with the private half of *public_key*."""
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
