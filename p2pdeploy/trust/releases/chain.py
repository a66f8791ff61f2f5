"""python-tuf's trusted set, with a name for each thing that it refuses.

Documents go in from the root downwards; each is judged by the one above it.  A chain that refused
something is thrown away.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from p2pdeploy.errors import TrustError
from p2pdeploy.trust.releases.documents import (
    FOREIGN_ERRORS,
    Delegator,
    Document,
    check_signatures,
    check_version_number,
    keys_of_role,
    parse_document,
    signatures_of,
)
from p2pdeploy.trust.releases.library import (
    BadVersionNumberError,
    EnvelopeType,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    MetaFile,
    Root,
    Snapshot,
    Targets,
    Timestamp,
    TrustedMetadataSet,
    UnsignedMetadataError,
)
from p2pdeploy.trust.releases.refusals import Attack, refused

__all__ = ["TrustChain"]


class TrustChain:
    """Trust that starts at one root document.

    Every method raises :class:`~p2pdeploy.errors.TrustError` with the attack as its code.

    Args:
        root: A root document that is trusted already.
        at: The time at which expiry is judged, in UTC.
    """

    def __init__(self, root: bytes, *, at: dt.datetime) -> None:
        with _named("root", root, Root):
            self._set = TrustedMetadataSet(root, EnvelopeType.METADATA)
        self._set.reference_time = at
        self.root_bytes = root

    @property
    def root(self) -> Root:
        """The newest root so far."""
        return self._set.root

    def add_roots(self, roots: Sequence[bytes]) -> None:
        """Follow the rotations; roots that are not newer than ours are passed over."""
        for data in roots:
            version = parse_document(data, Root, where="root").signed.version
            if version <= self.root.version:
                continue
            with _named("root", data, Root, self.root):
                self._set.update_root(data)
            self.root_bytes = data

    def add_timestamp(self, data: bytes) -> Timestamp:
        """The newest word of the control plane."""
        keys_of_role(self.root, "timestamp")
        with _named("timestamp", data, Timestamp, self.root):
            timestamp = self._set.update_timestamp(data)
        check_version_number(timestamp.version, "timestamp")
        return timestamp

    def add_snapshot(self, data: bytes) -> Snapshot:
        """The snapshot that the timestamp names, byte for byte."""
        keys_of_role(self.root, "snapshot")
        meta = _pinned("snapshot", self._set.timestamp.snapshot_meta)
        with _named("snapshot", data, Snapshot, self.root, meta):
            snapshot = self._set.update_snapshot(data)
        check_version_number(snapshot.version, "snapshot")
        return snapshot

    def add_targets(self, data: bytes, role: str, delegator: Delegator) -> Targets:
        """The targets document or a service's, as the snapshot names it, byte for byte."""
        keys_of_role(delegator, role)
        meta = _pinned(role, self._set.snapshot.meta.get(f"{role}.json"))
        above = "root" if delegator is self.root else "targets"
        with _named(role, data, Targets, delegator, meta):
            targets = self._set.update_delegated_targets(data, role, above)
        check_version_number(targets.version, role)
        return targets


def _pinned(role: str, meta: MetaFile | None) -> MetaFile:
    """TUF lets hashes out; without them two documents of one version could be swapped."""
    if meta is None:
        raise refused(Attack.UNKNOWN_RELEASE, "the snapshot does not name it", where=role)
    if meta.length is None or not meta.hashes or set(meta.hashes) != {"sha256"}:
        raise refused(Attack.MIX_AND_MATCH, "named without length and SHA-256", where=role)
    return meta


@contextmanager
def _named(
    role: str,
    data: bytes,
    kind: type[Document],
    delegator: Delegator | None = None,
    meta: MetaFile | None = None,
) -> Generator[None]:
    """Translate what python-tuf raises about *data*."""
    try:
        yield
    except ExpiredMetadataError as error:
        raise refused(Attack.FREEZE, str(error), where=role) from error
    except LengthOrHashMismatchError as error:
        longer = meta is not None and meta.length is not None and len(data) > meta.length
        attack = Attack.ENDLESS_DATA if longer else Attack.MIX_AND_MATCH
        raise refused(attack, f"not the bytes that were named: {error}", where=role) from error
    except BadVersionNumberError as error:
        raise refused(Attack.MIX_AND_MATCH, str(error), where=role) from error
    except UnsignedMetadataError as error:
        raise _too_few_signed(role, data, kind, delegator) from error
    except FOREIGN_ERRORS as error:
        raise refused(Attack.MALFORMED, f"unreadable document: {error}", where=role) from error


def _too_few_signed(
    role: str, data: bytes, kind: type[Document], delegator: Delegator | None
) -> TrustError:
    """Which of the two it is: no signature that counts, or not enough of them."""
    document = parse_document(data, kind, where=role)
    payload, signatures = document.signed_bytes, signatures_of(document)
    above: list[Delegator] = [] if delegator is None else [delegator]
    if isinstance(document.signed, Root):
        above.append(document.signed)  # a new root vouches for itself as well
    for judge in above:
        try:
            check_signatures(judge, role, payload, signatures)
        except TrustError as error:
            return error
    return refused(Attack.WRONG_KEY, "not signed as it must be", where=role)
