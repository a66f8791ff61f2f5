"""Envelopes: every order and attestation travels sealed, and is verified as the bytes received.

The form is DSSE (https://github.com/secure-systems-lab/dsse): the signature covers the
pre-authentication encoding of type and payload, so a message of one type can't be replayed as
another.  The keys are HMAC keys derived from the fleet secret for now; a signer with a private
key slots in behind the same two protocols.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Protocol

import msgspec

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import ProtocolError, TrustError
from p2pdeploy.limits import ENVELOPE_BYTES_MAX
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.orders import (
    Abort,
    Excuse,
    Go,
    Plan,
    Revert,
    Rollout,
    Roster,
    Settled,
)
from p2pdeploy.messages.release import Release

__all__ = ["Envelope", "HmacKeyring", "Sealed", "Sealer", "Verifier", "open_envelope", "seal"]

Sealed = Rollout | Plan | Revert | Roster | Go | Abort | Excuse | Settled | Attestation | Release
"""Every message that exists only inside an envelope."""

# Which role may say what; a host may speak only for itself (checked in open_envelope).
ROLE_OF: dict[type, str] = {
    Rollout: "rollout",
    Plan: "deployer",
    Revert: "deployer",
    Roster: "deployer",
    Excuse: "deployer",
    Settled: "deployer",
    Go: "go",
    Abort: "abort",
    Attestation: "host",
    Release: "release",
}


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """``type`` names the payload's form; ``key_id`` is a role or ``host/NAME``."""

    type: str
    payload: bytes
    key_id: str
    signature: bytes


class Sealer(Protocol):
    """Signs for one key."""

    @property
    def key_id(self) -> str: ...
    def sign(self, message: bytes) -> bytes: ...


class Verifier(Protocol):
    """Knows every key that may speak in this cell."""

    def verify(self, key_id: str, message: bytes, signature: bytes) -> bool: ...


def seal(message: Sealed, sealer: Sealer) -> bytes:
    """Encode and sign *message*; the result is what is stored and relayed, byte for byte."""
    kind = _type_of(type(message))
    payload = encode(message)
    signature = sealer.sign(_pae(kind, payload))
    return encode(Envelope(kind, payload, sealer.key_id, signature))


def open_envelope(data: bytes, verifier: Verifier) -> Sealed:
    """Verify *data* and return its message.

    Raises:
        ProtocolError: not an envelope, too long, or a payload of another form.
        TrustError: the signature is wrong, or the key may not say this.  Either way: drop it,
            store nothing, relay nothing.
    """
    envelope = decode(data, Envelope, bytes_max=ENVELOPE_BYTES_MAX)
    if not verifier.verify(
        envelope.key_id, _pae(envelope.type, envelope.payload), envelope.signature
    ):
        raise TrustError(f"bad signature by {envelope.key_id!r} on {envelope.type!r}")
    message: Sealed = decode(envelope.payload, Sealed, bytes_max=ENVELOPE_BYTES_MAX)  # pyright: ignore[reportArgumentType] a union is a type form
    if _type_of(type(message)) != envelope.type:
        raise ProtocolError(f"envelope says {envelope.type!r}, payload is {type(message).__name__}")
    _check_role(envelope.key_id, message)
    return message


def _check_role(key_id: str, message: Sealed) -> None:
    role, _, name = key_id.partition("/")
    if role != ROLE_OF[type(message)]:
        raise TrustError(f"{key_id!r} may not issue {type(message).__name__}")
    if isinstance(message, Attestation) and message.host != name:
        raise TrustError(f"{key_id!r} speaks for host {message.host!r}")


def _type_of(kind: type) -> str:
    return f"p2pdeploy/{kind.__name__.lower()}/1"


def _pae(kind: str, payload: bytes) -> bytes:
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


class HmacKeyring:
    """Seals and verifies with keys derived from one fleet secret.

    Everybody who holds the secret can speak for everybody: it keeps strangers out, and that is
    all it does.  Certificates and signatures replace it.
    """

    def __init__(self, secret: bytes, *, key_id: str = "") -> None:
        self._secret = secret
        self._key_id = key_id

    @property
    def key_id(self) -> str:
        return self._key_id

    def named(self, key_id: str) -> HmacKeyring:
        """The same keyring, sealing as *key_id* (``deployer``, ``go``, ``host/h01``...)."""
        return HmacKeyring(self._secret, key_id=key_id)

    def sign(self, message: bytes) -> bytes:
        assert self._key_id, "a keyring that seals needs a key id; use named()"
        return self._mac(self._key_id, message)

    def verify(self, key_id: str, message: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(self._mac(key_id, message), signature)

    def _mac(self, key_id: str, message: bytes) -> bytes:
        key = hmac.digest(self._secret, b"envelope " + key_id.encode(), hashlib.sha256)
        return hmac.digest(key, message, hashlib.sha256)
