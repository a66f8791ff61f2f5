"""A fast keyring for worlds without attackers: one secret speaks for everybody.

Envelopes have the production form and pass the production checks; only the signatures are HMACs,
a hundred times cheaper than Ed25519, so that a simulated fleet spends its time on the protocol.
"""

from __future__ import annotations

import hashlib
import hmac

from p2pdeploy.errors import TrustError
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.trust.envelope import Signature

__all__ = ["HmacKeyring"]


class HmacKeyring:
    """Seals and verifies with keys derived from one secret; a key's id is its role."""

    def __init__(self, secret: bytes, *, key_id: str = "") -> None:
        self._secret = secret
        self._key_id = key_id

    @property
    def key_id(self) -> str:
        return self._key_id

    @property
    def credential(self) -> bytes:
        return b""

    def named(self, key_id: str) -> HmacKeyring:
        """The same keyring, sealing as *key_id* (``deployer``, ``go``, ``host/h01``...)."""
        return HmacKeyring(self._secret, key_id=key_id)

    def sign(self, message: bytes) -> bytes:
        assert self._key_id, "a keyring that seals needs a key id; use named()"
        return self._mac(self._key_id, message)

    def enough_signed(self, role: str, message: bytes, signatures: tuple[Signature, ...]) -> bool:
        """Whether one signature is by *role*."""
        return any(
            key_id == role and hmac.compare_digest(self._mac(role, message), signature)
            for key_id, signature in signatures
        )

    def check_host(
        self,
        word: Attestation,
        message: bytes,
        signatures: tuple[Signature, ...],
        credential: bytes,
    ) -> None:
        """Raises TrustError unless ``host/NAME`` alone signed; there are no credentials here."""
        role = f"host/{word.host}"
        if credential or len(signatures) != 1 or not self.enough_signed(role, message, signatures):
            raise TrustError(f"not signed by {word.host!r}")

    def _mac(self, key_id: str, message: bytes) -> bytes:
        key = hmac.digest(self._secret, b"envelope " + key_id.encode(), hashlib.sha256)
        return hmac.digest(key, message, hashlib.sha256)
