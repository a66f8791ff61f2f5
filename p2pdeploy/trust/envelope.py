"""Envelopes: every order and attestation travels sealed, and is verified as the bytes received.

The form is DSSE (https://github.com/secure-systems-lab/dsse): signatures cover the
pre-authentication encoding of type and payload, so a message of one type can't be replayed as
another.  Orders are signed by keys of a role, as many as the fleet demands of it.  Attestations
are signed by the host itself, whose credential travels along.
"""

from __future__ import annotations

from typing import Annotated, Protocol

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
    Prefetch,
    Retry,
    Revert,
    Rollout,
    Roster,
    Settled,
)
from p2pdeploy.messages.rates import RateLimits
from p2pdeploy.trust.credential import CREDENTIAL_BYTES_MAX, Credential
from p2pdeploy.trust.revocations import Revocations

__all__ = [
    "ROLE_OF",
    "SIGNATURES_MAX",
    "Envelope",
    "Sealed",
    "Sealer",
    "Signature",
    "Verifier",
    "assemble",
    "open_envelope",
    "seal",
    "signed_part",
]

Sealed = (
    Rollout
    | Plan
    | Revert
    | Roster
    | Go
    | Abort
    | Excuse
    | Retry
    | Prefetch
    | Settled
    | RateLimits
    | Attestation
    | Credential
    | Revocations
)
"""Every message that exists only inside an envelope."""

# Which role may say what; a host may speak only for itself (Verifier.check_host).
ROLE_OF: dict[type, str] = {
    Rollout: "rollout",
    Plan: "deployer",
    Revert: "deployer",
    Roster: "deployer",
    Excuse: "deployer",
    Retry: "deployer",
    Prefetch: "deployer",
    Settled: "deployer",
    RateLimits: "deployer",
    Go: "go",
    Abort: "abort",
    Attestation: "host",
    Credential: "enrol",
    Revocations: "enrol",
}
# Stopping is safe, so whoever may move a rollout may stop it.
_MAY_ALSO_ABORT = ("go", "deployer", "rollout")

SIGNATURES_MAX = 16  # five owners of a service and some; each costs 0.1 ms to verify

Signature = tuple[str, bytes]
"""Key id and signature; the id only finds the key among those that are trusted."""


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """``type`` names the payload's form; ``credential`` is a host's own sealed Credential."""

    type: str
    payload: bytes
    signatures: Annotated[tuple[Signature, ...], msgspec.Meta(max_length=SIGNATURES_MAX)]
    credential: Annotated[bytes, msgspec.Meta(max_length=CREDENTIAL_BYTES_MAX)] = b""


class Sealer(Protocol):
    """Signs with one key.  ``credential`` is empty for everybody but a host."""

    @property
    def key_id(self) -> str: ...
    @property
    def credential(self) -> bytes: ...
    def sign(self, message: bytes) -> bytes: ...


class Verifier(Protocol):
    """Knows every key that may speak in this fleet."""

    def enough_signed(self, role: str, message: bytes, signatures: tuple[Signature, ...]) -> bool:
        """Whether as many keys of *role* signed *message* as the fleet demands."""
        ...

    def check_host(
        self,
        word: Attestation,
        message: bytes,
        signatures: tuple[Signature, ...],
        credential: bytes,
    ) -> None:
        """Raise TrustError unless the host of *word* itself signed *message*, its encoding."""
        ...


def seal(message: Sealed, sealer: Sealer) -> bytes:
    """Encode and sign *message*; the result is what is stored and relayed, byte for byte."""
    kind = _type_of(type(message))
    payload = encode(message)
    signature = (sealer.key_id, sealer.sign(_pae(kind, payload)))
    return encode(Envelope(kind, payload, (signature,), sealer.credential))


def signed_part(kind: type[Sealed], payload: bytes) -> bytes:
    """What a signature on *payload*, a message of *kind*, covers: for who signs without sealing."""
    return _pae(_type_of(kind), payload)


def assemble(kind: type[Sealed], payload: bytes, signatures: tuple[Signature, ...]) -> bytes:
    """The envelope of a *payload* that others signed; nothing is verified here."""
    return encode(Envelope(_type_of(kind), payload, signatures))


def open_envelope(data: bytes, verifier: Verifier) -> Sealed:
    """Verify *data* and return its message.

    Raises:
        ProtocolError: not an envelope, too long, or a payload of another form.
        TrustError: a signature is wrong or missing, or the key may not say this.  Either way:
            drop it, store nothing, relay nothing.
    """
    envelope = decode(data, Envelope, bytes_max=ENVELOPE_BYTES_MAX)
    message: Sealed = decode(envelope.payload, Sealed, bytes_max=ENVELOPE_BYTES_MAX)  # pyright: ignore[reportArgumentType] a union is a type form
    if _type_of(type(message)) != envelope.type:
        raise ProtocolError(f"envelope says {envelope.type!r}, payload is {type(message).__name__}")
    _check_signers(envelope, message, verifier)
    return message


def _check_signers(envelope: Envelope, message: Sealed, verifier: Verifier) -> None:
    signed = _pae(envelope.type, envelope.payload)
    if isinstance(message, Attestation):
        verifier.check_host(message, signed, envelope.signatures, envelope.credential)
        return
    if envelope.credential:
        raise ProtocolError("a credential on what no host says")
    role = ROLE_OF[type(message)]
    roles = (role, *_MAY_ALSO_ABORT) if isinstance(message, Abort) else (role,)
    if not any(verifier.enough_signed(each, signed, envelope.signatures) for each in roles):
        signers = ", ".join(repr(key_id) for key_id, _ in envelope.signatures) or "nobody"
        raise TrustError(
            f"{type(message).__name__} is signed by {signers}: not enough keys of {role!r}",
            code="bad-signature",
        )


def _type_of(kind: type) -> str:
    return f"p2pdeploy/{kind.__name__.lower()}/1"


def _pae(kind: str, payload: bytes) -> bytes:
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
