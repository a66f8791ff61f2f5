"""python-tuf: documents from and to bytes, and how many of their signatures count.

A *document* is what TUF calls metadata: a signed part and signatures over its canonical JSON
(the *payload*).  Everything that python-tuf can raise over hostile bytes is translated here.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from p2pdeploy.errors import ConfigError, TrustError
from p2pdeploy.trust.releases.keys import key_kind
from p2pdeploy.trust.releases.library import (
    CanonicalJSONSerializer,
    Metadata,
    RepositoryError,
    Root,
    Signature,
    Snapshot,
    SSlibKey,
    Targets,
    Timestamp,
)
from p2pdeploy.trust.releases.limits import VERSION_MAX
from p2pdeploy.trust.releases.refusals import Attack, refused
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import key_id_of

__all__ = [
    "FOREIGN_ERRORS",
    "Delegator",
    "Document",
    "check_signatures",
    "check_version_number",
    "keys_of_role",
    "parse_document",
    "parse_payload",
    "payload_of",
    "signatures_of",
    "to_document",
    "too_few",
    "tuf_keys",
    "valid_signatures",
]

Document = TypeVar("Document", Root, Timestamp, Snapshot, Targets)
Delegator = Root | Targets

# Its own errors, and what plain Python raises where a field has the wrong type.
FOREIGN_ERRORS = (
    RepositoryError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
    RecursionError,
)


def payload_of(signed: Root | Timestamp | Snapshot | Targets) -> bytes:
    """The bytes that are signed (OLPC canonical JSON)."""
    return CanonicalJSONSerializer().serialize(signed)


def parse_payload(payload: bytes, kind: type[Document], *, where: str) -> Document:
    """Read an unsigned document.  Raises TrustError: these bytes are not of this form."""
    with _malformed(where):
        signed = kind.from_dict(json.loads(payload))
        if payload_of(signed) != payload:
            raise ValueError("not canonical")
    check_version_number(signed.version, where)
    return signed


def parse_document(data: bytes, kind: type[Document], *, where: str) -> Metadata[Document]:
    """Read a document without judging its signatures.  Raises TrustError: not of this form."""
    with _malformed(where):
        document = Metadata[Document].from_bytes(data)
        if document.signed.type != kind.type:  # python-tuf goes by what the bytes say
            raise ValueError(f"a {document.signed.type} document")
    check_version_number(document.signed.version, where)
    return document


@contextmanager
def _malformed(where: str) -> Generator[None]:
    try:
        yield
    except FOREIGN_ERRORS as error:
        raise refused(Attack.MALFORMED, f"unreadable document: {error}", where=where) from error


def check_version_number(version: object, where: str) -> None:
    """Refuse a document's version that leaves no room for a next one, or is no number."""
    if type(version) is not int:
        raise refused(Attack.MALFORMED, "its version is no whole number", where=where)
    if version >= VERSION_MAX:
        raise refused(Attack.FAST_FORWARD, "nothing could follow its version", where=where)


def to_document(
    payload: bytes, kind: type[Document], signatures: Mapping[str, bytes], *, where: str
) -> bytes:
    """A payload with its signatures, by key id: the file as it is published."""
    signed = parse_payload(payload, kind, where=where)
    ordered = {key_id: Signature(key_id, signatures[key_id].hex()) for key_id in sorted(signatures)}
    return Metadata(signed, ordered).to_bytes()


def signatures_of(document: Metadata[Document]) -> dict[str, bytes]:
    """The signatures of a document, by key id; unreadable ones are left out."""
    found: dict[str, bytes] = {}
    for key_id, signature in document.signatures.items():
        try:
            found[key_id] = bytes.fromhex(signature.signature)
        except ValueError:
            continue
    return found


def tuf_keys(role: str, keys: RoleKeys) -> dict[str, SSlibKey]:
    """The keys of *role* as TUF writes them, by id."""
    kind = key_kind(role)
    return {
        (key_id := key_id_of(kind, key)): SSlibKey(
            key_id, "ed25519", "ed25519", {"public": key.hex()}
        )
        for key in keys.public_keys
    }


def keys_of_role(delegator: Delegator, role: str) -> RoleKeys:
    """Who may sign *role*, as *delegator* says.

    Raises:
        TrustError: nobody (``release-unknown``), or one key stands under two names and would
            count twice.
    """
    try:
        delegated = delegator.get_delegated_role(role)
        found = [delegator.get_key(key_id) for key_id in delegated.keyids]
        public_keys = tuple(bytes.fromhex(key.keyval["public"]) for key in found)
    except ValueError as error:
        raise refused(Attack.UNKNOWN_RELEASE, "nobody may sign this", where=role) from error
    try:
        return RoleKeys(threshold=delegated.threshold, public_keys=public_keys)
    except ConfigError as error:
        raise refused(Attack.BELOW_THRESHOLD, f"its keys: {error}", where=role) from error


def valid_signatures(
    delegator: Delegator, role: str, payload: bytes, signatures: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Those of *signatures* that are by keys that may sign *role*, each key once.

    Raises:
        TrustError: nobody may sign *role*.
    """
    keys_of_role(delegator, role)
    named = {key_id: Signature(key_id, value.hex()) for key_id, value in signatures.items()}
    result = delegator.get_verification_result(role, payload, named)
    return {key_id: signatures[key_id] for key_id in result.signed}


def check_signatures(
    delegator: Delegator, role: str, payload: bytes, signatures: Mapping[str, bytes]
) -> dict[str, bytes]:
    """As :func:`valid_signatures`, and they are enough.

    Raises:
        TrustError: not one signature counts (``release-wrong-key``), or too few
            (``release-below-threshold``).
    """
    valid = valid_signatures(delegator, role, payload, signatures)
    threshold = keys_of_role(delegator, role).threshold
    if len(valid) < threshold:
        raise too_few(role, len(valid), threshold)
    return valid


def too_few(role: str, count: int, threshold: int) -> TrustError:
    """The error for *count* valid signatures where *threshold* are needed."""
    if count == 0:
        return refused(Attack.WRONG_KEY, "no signature by a key that may sign this", where=role)
    return refused(
        Attack.BELOW_THRESHOLD, f"{count} of {threshold} signatures that it takes", where=role
    )
