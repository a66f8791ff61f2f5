"""The control plane's half: accepts proposals that enough keys signed.

A repository is a value; each function returns the next one, whole and consistent, or raises and
nothing changed.  Whoever keeps it writes it down before handing out a bundle of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import msgspec

from p2pdeploy.errors import NotFoundError
from p2pdeploy.trust.releases.acceptance import (
    accept,
    check_follows,
    check_still_signed,
    service_payload,
)
from p2pdeploy.trust.releases.bundle import ReleaseBundle
from p2pdeploy.trust.releases.documents import (
    check_signatures,
    keys_of_role,
    parse_document,
    parse_payload,
    to_document,
)
from p2pdeploy.trust.releases.keys import OnlineKeys, service_role
from p2pdeploy.trust.releases.library import Root, Targets
from p2pdeploy.trust.releases.limits import ROOTS_PER_BUNDLE_MAX
from p2pdeploy.trust.releases.online import is_half_gone, sign_snapshot, sign_timestamp
from p2pdeploy.trust.releases.proposals import Proposal

__all__ = [
    "Repository",
    "accept_release",
    "accept_root",
    "accept_targets",
    "bundle_for",
    "is_refresh_due",
    "new_repository",
    "refresh",
]


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """All documents: every root from the first on, and the newest of everything else.

    ``services`` holds each service's document by its name.
    """

    roots: tuple[bytes, ...]
    targets: bytes
    snapshot: bytes
    timestamp: bytes
    services: dict[str, bytes] = {}

    @property
    def root(self) -> Root:
        """The newest root."""
        return parse_document(self.roots[-1], Root, where="root").signed


def new_repository(
    root: Proposal, targets: Proposal, online: OnlineKeys, *, now: dt.datetime
) -> Repository:
    """A repository without releases, from the first root and the first targets, both signed.

    Raises:
        TrustError: too few of its keys signed one of them.
        ConfigError: *online* is not what the root names.
    """
    signed = parse_payload(root.payload, Root, where="root")
    root_document = accept(signed, root, Root)
    targets_document = accept(signed, targets, Targets)
    snapshot = sign_snapshot(signed, None, {"targets": targets_document}, online.snapshot, now=now)
    return Repository(
        roots=(root_document,),
        targets=targets_document,
        snapshot=snapshot,
        timestamp=sign_timestamp(signed, None, snapshot, online.timestamp, now=now),
    )


def accept_release(
    repository: Repository, proposal: Proposal, online: OnlineKeys, *, now: dt.datetime
) -> Repository:
    """Publish a service's document that its publishers signed.

    Raises:
        TrustError: too few of the service's publishers signed it.
        RefusedError: something else was published meanwhile (``stale-proposal``); propose anew.
        ConfigError: *online* is not what the newest root names.
    """
    service = proposal.role.removeprefix("svc/")
    targets = parse_document(repository.targets, Targets, where="targets").signed
    signed = service_payload(proposal)
    check_follows(repository.services.get(service), Targets, signed.version, proposal.role)
    document = accept(targets, proposal, Targets)
    services = {**repository.services, service: document}
    changed = msgspec.structs.replace(repository, services=services)
    return _sign_online(changed, {proposal.role: document}, online, now)


def accept_targets(
    repository: Repository,
    proposal: Proposal,
    online: OnlineKeys,
    *,
    now: dt.datetime,
    services: Sequence[Proposal] = (),
) -> Repository:
    """Publish who publishes what from now on.

    Args:
        repository: The one before.
        proposal: From ``propose_targets``, signed by the targets keys.
        online: The control plane's keys.
        now: The time, in UTC.
        services: Documents of services whose publishers change, signed by the new ones.

    Raises:
        TrustError: too few keys signed one of them.
        RefusedError: something else was published meanwhile (``stale-proposal``), or a service's
            document is signed only by keys that leave (``needs-signing``).
        ConfigError: *online* is not what the newest root names.
    """
    signed = parse_payload(proposal.payload, Targets, where="targets")
    check_follows(repository.targets, Targets, signed.version, "targets")
    document = accept(repository.root, proposal, Targets)
    renewed = {item.role: _accept_renewed(repository, signed, item) for item in services}
    changed: dict[str, bytes | None] = {"targets": document, **renewed}
    kept: dict[str, bytes] = {}
    for service, old in repository.services.items():
        role = service_role(service)
        if signed.delegations is None or role not in (signed.delegations.roles or {}):
            changed[role] = None
            continue
        if role not in renewed:
            check_still_signed(signed, role, old, Targets)
            kept[service] = old
    kept |= {role.removeprefix("svc/"): renewed[role] for role in renewed}
    after = msgspec.structs.replace(repository, targets=document, services=kept)
    return _sign_online(after, changed, online, now)


def accept_root(
    repository: Repository,
    proposal: Proposal,
    online: OnlineKeys,
    *,
    now: dt.datetime,
    targets: Proposal | None = None,
) -> Repository:
    """Publish a root that the old and the new root keys signed.

    Args:
        repository: The one before.
        proposal: From ``propose_root``.
        online: The control plane's keys as the new root names them.
        now: The time, in UTC.
        targets: A targets document signed by the new targets keys, when those changed.

    Raises:
        TrustError: too few of the old or of the new keys signed.
        RefusedError: another root was published meanwhile (``stale-proposal``), or the targets
            document is signed only by keys that leave (``needs-signing``).
        ConfigError: *online* is not what the new root names.
    """
    signed = parse_payload(proposal.payload, Root, where="root")
    check_follows(repository.roots[-1], Root, signed.version, "root")
    valid = check_signatures(repository.root, "root", proposal.payload, proposal.signatures)
    valid |= check_signatures(signed, "root", proposal.payload, proposal.signatures)
    document = to_document(proposal.payload, Root, valid, where="root")
    after = msgspec.structs.replace(repository, roots=(*repository.roots, document))
    if targets is None:
        check_still_signed(signed, "targets", repository.targets, Targets)
        return _sign_online(after, {}, online, now)
    return accept_targets(after, targets, online, now=now)


def refresh(repository: Repository, online: OnlineKeys, *, now: dt.datetime) -> Repository:
    """Say that all is still the newest: a new timestamp, and a new snapshot at half its life.

    Raises:
        ConfigError: *online* is not what the newest root names.
    """
    snapshot_due, _ = is_half_gone(repository.snapshot, repository.timestamp, now=now)
    if snapshot_due:
        return _sign_online(repository, {}, online, now)
    timestamp = sign_timestamp(
        repository.root, repository.timestamp, repository.snapshot, online.timestamp, now=now
    )
    return msgspec.structs.replace(repository, timestamp=timestamp)


def is_refresh_due(repository: Repository, *, now: dt.datetime) -> bool:
    """Whether :func:`refresh` should be called; looked at every few minutes is often enough."""
    return any(is_half_gone(repository.snapshot, repository.timestamp, now=now))


def bundle_for(repository: Repository, service: str, *, root_version: int) -> bytes:
    """What a host needs for one service.

    Args:
        repository: The newest.
        service: Its name; empty for the order keys alone.
        root_version: The root that the host has; 0 gives all, which any host can use.

    Raises:
        NotFoundError: nothing was ever signed for this service.
    """
    document = repository.services.get(service) if service else b""
    if document is None:
        raise NotFoundError("no release of this service is signed", where=service)
    newer = repository.roots[max(0, root_version) :]
    bundle = ReleaseBundle(
        roots=newer[:ROOTS_PER_BUNDLE_MAX],
        timestamp=repository.timestamp,
        snapshot=repository.snapshot,
        targets=repository.targets,
        service=document,
    )
    return bundle.to_bytes()


def _sign_online(
    repository: Repository,
    changed: Mapping[str, bytes | None],
    online: OnlineKeys,
    now: dt.datetime,
) -> Repository:
    root = repository.root
    snapshot = sign_snapshot(root, repository.snapshot, changed, online.snapshot, now=now)
    timestamp = sign_timestamp(root, repository.timestamp, snapshot, online.timestamp, now=now)
    after = msgspec.structs.replace(repository, snapshot=snapshot, timestamp=timestamp)
    for role in changed:  # what no host would read must not be published
        service = role.removeprefix("svc/")
        named = service if service in after.services else ""
        ReleaseBundle.from_bytes(bundle_for(after, named, root_version=len(after.roots)))
    return after


def _accept_renewed(repository: Repository, targets: Targets, proposal: Proposal) -> bytes:
    signed = service_payload(proposal)
    current = repository.services.get(proposal.role.removeprefix("svc/"))
    if signed.version != 1 or not _key_left(repository, targets, proposal.role):
        check_follows(current, Targets, signed.version, proposal.role)
    return accept(targets, proposal, Targets)


def _key_left(repository: Repository, targets: Targets, role: str) -> bool:
    """Whether hosts will forget the versions of *role*, so that it may begin again."""
    before = parse_document(repository.targets, Targets, where="targets").signed
    old, new = keys_of_role(before, role), keys_of_role(targets, role)
    return not set(old.public_keys) <= set(new.public_keys)
