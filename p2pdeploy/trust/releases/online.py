"""Snapshot and timestamp: what the control plane signs by itself, again and again.

They say which documents belong together and that they are the newest.  They name no release:
whoever steals their keys can hide news for a while, and bring nothing of his own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from p2pdeploy.errors import ConfigError, TrustError
from p2pdeploy.trust.releases.documents import (
    check_signatures,
    parse_document,
    payload_of,
    to_document,
)
from p2pdeploy.trust.releases.library import MetaFile, Root, Snapshot, Targets, Timestamp
from p2pdeploy.trust.releases.limits import SNAPSHOT_LIFETIME, TIMESTAMP_LIFETIME
from p2pdeploy.trust.signing import SigningKey, key_id_of

__all__ = ["is_half_gone", "sign_snapshot", "sign_timestamp"]


def sign_snapshot(
    root: Root,
    previous: bytes | None,
    changed: Mapping[str, bytes | None],
    key: SigningKey,
    *,
    now: dt.datetime,
) -> bytes:
    """The next snapshot document.

    Args:
        root: The newest root.
        previous: The snapshot before; None for the first.
        changed: Role to its new document; None takes a role out.  The others stay as they are.
        key: The snapshot key.
        now: The time, in UTC.

    Raises:
        ConfigError: *key* is not the one that *root* names.
    """
    version, meta = 1, dict[str, MetaFile]()
    if previous is not None:
        before = parse_document(previous, Snapshot, where="snapshot").signed
        version, meta = before.version + 1, dict(before.meta)
    for role, document in changed.items():
        if document is None:
            meta.pop(f"{role}.json", None)
        else:
            document_version = parse_document(document, Targets, where=role).signed.version
            meta[f"{role}.json"] = MetaFile.from_data(document_version, document, ["sha256"])
    snapshot = Snapshot(version, expires=now + SNAPSHOT_LIFETIME, meta=meta)
    payload = payload_of(snapshot)
    return to_document(
        payload, Snapshot, _signature(root, "snapshot", payload, key), where="snapshot"
    )


def sign_timestamp(
    root: Root, previous: bytes | None, snapshot: bytes, key: SigningKey, *, now: dt.datetime
) -> bytes:
    """The next timestamp document, for *snapshot*.

    Args:
        root: The newest root.
        previous: The timestamp before; None for the first.
        snapshot: The newest snapshot document.
        key: The timestamp key.
        now: The time, in UTC.

    Raises:
        ConfigError: *key* is not the one that *root* names.
    """
    version = 1
    if previous is not None:
        version = parse_document(previous, Timestamp, where="timestamp").signed.version + 1
    snapshot_version = parse_document(snapshot, Snapshot, where="snapshot").signed.version
    meta = MetaFile.from_data(snapshot_version, snapshot, ["sha256"])
    timestamp = Timestamp(version, expires=now + TIMESTAMP_LIFETIME, snapshot_meta=meta)
    payload = payload_of(timestamp)
    return to_document(
        payload, Timestamp, _signature(root, "timestamp", payload, key), where="timestamp"
    )


def _signature(root: Root, role: str, payload: bytes, key: SigningKey) -> dict[str, bytes]:
    signatures = {key_id_of(role, key.public_key): key.sign(payload)}
    try:
        return check_signatures(root, role, payload, signatures)
    except TrustError as error:
        raise ConfigError(
            f"the {role} key is not the one that the newest root names",
            hint="rotate the root, or put the right key in place",
            code="wrong-online-key",
        ) from error


def is_half_gone(snapshot: bytes, timestamp: bytes, *, now: dt.datetime) -> tuple[bool, bool]:
    """Whether snapshot and timestamp have lived half their life: time to sign them anew."""
    snapshot_ends = parse_document(snapshot, Snapshot, where="snapshot").signed.expires
    timestamp_ends = parse_document(timestamp, Timestamp, where="timestamp").signed.expires
    return (
        snapshot_ends - now <= SNAPSHOT_LIFETIME / 2,
        timestamp_ends - now <= TIMESTAMP_LIFETIME / 2,
    )
