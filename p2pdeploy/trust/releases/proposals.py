"""Unsigned documents, and one key's signature on them.

Whoever wants something signed makes a proposal; the owners of keys sign its payload, each where
the key is; the repository accepts it when enough of them did.  The same input gives the same
bytes, so owners can make the payload themselves and compare.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping

import msgspec

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import RefusedError
from p2pdeploy.trust.releases.documents import (
    Document,
    keys_of_role,
    parse_document,
    payload_of,
    tuf_keys,
)
from p2pdeploy.trust.releases.keys import TopKeys, key_kind, service_role
from p2pdeploy.trust.releases.library import (
    DelegatedRole,
    Delegations,
    Role,
    Root,
    TargetFile,
    Targets,
)
from p2pdeploy.trust.releases.limits import (
    RELEASES_LIVE_MAX,
    ROOT_LIFETIME,
    SERVICE_LIFETIME,
    TARGETS_BYTES_MAX,
    TARGETS_LIFETIME,
)
from p2pdeploy.trust.releases.release_target import LiveRelease, ReleaseTarget, live_releases
from p2pdeploy.trust.role_keys import KEYS_PER_ROLE_MAX, OrderRoles, RoleKeys
from p2pdeploy.trust.signing import SigningKey, key_id_of

__all__ = [
    "ORDER_KEYS_PATH",
    "Proposal",
    "propose_recovery",
    "propose_release",
    "propose_renewal",
    "propose_root",
    "propose_targets",
    "services_of",
    "sign",
]

ORDER_KEYS_PATH = "keys/orders.json"
_PROPOSAL_BYTES_MAX = TARGETS_BYTES_MAX + 2 * KEYS_PER_ROLE_MAX * 128  # and both roots' signatures


class Proposal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``role`` is ``root``, ``targets`` or ``svc/NAME``; ``signatures`` by key id."""

    role: str
    payload: bytes
    signatures: dict[str, bytes] = {}

    def to_bytes(self) -> bytes:
        """As it is stored and sent to those who sign."""
        return encode(self)

    @staticmethod
    def from_bytes(data: bytes) -> Proposal:
        """Read it again.  Raises ProtocolError: too long or of another form."""
        return decode(data, Proposal, bytes_max=_PROPOSAL_BYTES_MAX)


def sign(proposal: Proposal, key: SigningKey) -> tuple[str, bytes]:
    """The key's id in this role, and its signature.

    A publisher looks at what it signs first: :func:`p2pdeploy.trust.releases.review.review`.
    """
    kind = key_kind(proposal.role)
    return key_id_of(kind, key.public_key), key.sign(proposal.payload)


def propose_root(current: bytes | None, keys: TopKeys, *, now: dt.datetime) -> Proposal:
    """A root that names *keys*; to be signed by the old root keys and by the new ones.

    Args:
        current: The newest root document; None makes the first.
        keys: All four roles, those that do not change as well.
        now: The time, in UTC.
    """
    root = Root(_version_after(current, Root, "root"), expires=now + ROOT_LIFETIME)
    for role, role_keys in keys.by_role().items():
        found = tuf_keys(role, role_keys)
        root.keys.update(found)
        root.roles[role] = Role(list(found), role_keys.threshold)
    return Proposal(role="root", payload=payload_of(root))


def propose_targets(
    current: bytes | None,
    *,
    order_keys: OrderRoles,
    services: Mapping[str, RoleKeys],
    now: dt.datetime,
) -> Proposal:
    """The document that says who publishes what, and whose orders count.

    Args:
        current: The newest targets document; None makes the first.
        order_keys: All of them, those that do not change as well.
        services: Every service's publishers; a service left out is nobody's from then on.
        now: The time, in UTC.

    Raises:
        RefusedError: a service has an illegal name.
    """
    delegations = Delegations({}, {})
    assert delegations.roles is not None
    for service, keys in sorted(services.items()):
        role = service_role(service)
        found = tuf_keys(role, keys)
        delegations.keys.update(found)
        delegations.roles[role] = DelegatedRole(
            role, list(found), keys.threshold, terminating=True, paths=[f"{service}/*"]
        )
    targets = Targets(
        _version_after(current, Targets, "targets"),
        expires=now + TARGETS_LIFETIME,
        targets={ORDER_KEYS_PATH: _order_keys_target(order_keys)},
        delegations=delegations,
    )
    return Proposal(role="targets", payload=payload_of(targets))


def _order_keys_target(order_keys: OrderRoles) -> TargetFile:
    custom = {
        role: {"keys": [key.hex() for key in keys.public_keys], "threshold": keys.threshold}
        for role, keys in order_keys.items()
    }
    content = json.dumps(custom, separators=(",", ":"), sort_keys=True).encode()
    hashes = {"sha256": hashlib.sha256(content).hexdigest()}
    return TargetFile(len(content), hashes, ORDER_KEYS_PATH, {"custom": custom})


def services_of(targets: bytes) -> dict[str, RoleKeys]:
    """The publishers of each service, from a targets document that is trusted already."""
    signed = parse_document(targets, Targets, where="targets").signed
    roles = signed.delegations.roles if signed.delegations else None
    return {name.removeprefix("svc/"): keys_of_role(signed, name) for name in roles or {}}


def propose_release(
    current: bytes | None, release: ReleaseTarget, *, keep: Collection[str], now: dt.datetime
) -> Proposal:
    """The service's document with one more release.

    Args:
        current: The service's newest document; None for the first release.
        release: The one to add.
        keep: Versions that a rollout or a label names; the oldest of the others makes room.
        now: The time, in UTC.

    Raises:
        RefusedError: the version is there already (``version-exists`` with other bytes,
            ``already-published`` with the same), or nothing may make room.
    """
    service = release.service
    live = _live(current, service)
    before = live.get(release.version)
    if before is not None:
        same = before.release == release
        raise RefusedError(
            "this release is signed already" if same else "other bytes are signed as this version",
            where=release.path,
            hint="" if same else "a release is immutable; publish under a new version",
            code="already-published" if same else "version-exists",
        )
    version = _version_after(current, Targets, service)
    kept = _make_room(live, keep, service)
    return _propose_service(
        service, [*kept, LiveRelease(release=release, serial=version)], version, now
    )


def propose_renewal(current: bytes, service: str, *, now: dt.datetime) -> Proposal:
    """The same releases with a new expiry; also what new publishers sign when others leave."""
    live = _live(current, service)
    return _propose_service(service, live.values(), _version_after(current, Targets, service), now)


def propose_recovery(
    service: str, releases: Iterable[ReleaseTarget], *, now: dt.datetime
) -> Proposal:
    """A service's document from the beginning, after a stolen key signed one nobody can follow.

    Hosts take it only together with a targets document that no longer names that key.
    """
    live = [LiveRelease(release=release, serial=1) for release in releases]
    return _propose_service(service, live, 1, now)


def _propose_service(
    service: str, live: Iterable[LiveRelease], version: int, now: dt.datetime
) -> Proposal:
    targets = {item.release.path: item.to_target() for item in live}
    assert len(targets) <= RELEASES_LIVE_MAX, "the caller made room"
    signed = Targets(version, expires=now + SERVICE_LIFETIME, targets=targets)
    return Proposal(role=service_role(service), payload=payload_of(signed))


def _live(current: bytes | None, service: str) -> dict[str, LiveRelease]:
    if current is None:
        return {}
    return live_releases(parse_document(current, Targets, where=service).signed, service)


def _make_room(
    live: dict[str, LiveRelease], keep: Collection[str], service: str
) -> list[LiveRelease]:
    by_age = sorted(live.values(), key=lambda item: (item.serial, item.release.version))
    surplus = max(0, len(by_age) + 1 - RELEASES_LIVE_MAX)
    unused = [item for item in by_age if item.release.version not in keep]
    if len(unused) < surplus:
        raise RefusedError(
            f"{RELEASES_LIVE_MAX} releases are live and each is in use",
            where=service,
            hint="finish rollouts or remove labels",
            code="too-many-live",
        )
    dropped = unused[:surplus]
    return [item for item in by_age if item not in dropped]


def _version_after(current: bytes | None, kind: type[Document], where: str) -> int:
    if current is None:
        return 1
    return parse_document(current, kind, where=where).signed.version + 1
