"""The judgement of a host: is this the release that its publishers signed, and the newest word?

The order is TUF's (5.3 to 5.6): roots one by one, timestamp, snapshot, targets, the service's
document.  python-tuf checks signatures, hashes and expiry; this module adds what is left to its
caller: the versions that the host has seen, and the time.
"""

from __future__ import annotations

import datetime as dt

import msgspec

from p2pdeploy.errors import ConfigError
from p2pdeploy.trust.releases.bundle import ReleaseBundle
from p2pdeploy.trust.releases.chain import TrustChain
from p2pdeploy.trust.releases.documents import Delegator, keys_of_role
from p2pdeploy.trust.releases.keys import service_role
from p2pdeploy.trust.releases.library import DelegatedRole, Root, Snapshot, Targets, Timestamp
from p2pdeploy.trust.releases.limits import CLOCK_BEHIND, TIMESTAMP_LIFETIME
from p2pdeploy.trust.releases.proposals import ORDER_KEYS_PATH
from p2pdeploy.trust.releases.refusals import Attack, refused
from p2pdeploy.trust.releases.release_target import ReleaseTarget, release_in
from p2pdeploy.trust.releases.seen import Seen, SeenRole
from p2pdeploy.trust.role_keys import OrderRoles, RoleKeys

__all__ = [
    "VerifiedKeys",
    "VerifiedRelease",
    "first_seen",
    "order_keys_in",
    "verify_order_keys",
    "verify_publishers",
    "verify_release",
]


class VerifiedRelease(msgspec.Struct, frozen=True, kw_only=True):
    """``seen`` is written down durably before anything is done about the rest."""

    release: ReleaseTarget
    order_keys: OrderRoles
    seen: Seen


class VerifiedKeys(msgspec.Struct, frozen=True, kw_only=True):
    """As :class:`VerifiedRelease`, for a bundle without a service."""

    order_keys: OrderRoles
    seen: Seen


def first_seen(root: bytes) -> Seen:
    """The memory of a host that just joined and was given *root* over its pinned channel.

    Raises:
        TrustError: *root* is no root document, or too few of its own keys signed it.
    """
    TrustChain(root, at=dt.datetime.min.replace(tzinfo=dt.UTC))
    return Seen(root=root)


def verify_release(
    bundle: bytes, seen: Seen, *, service: str, version: str, now: dt.datetime
) -> VerifiedRelease:
    """Judge bytes that came from anywhere.

    Args:
        bundle: A :class:`~p2pdeploy.trust.releases.bundle.ReleaseBundle`.
        seen: What this host remembers.
        service: The service that an order names.
        version: The version that an order names.
        now: The host's time, in UTC; if it was set back, what was proved before counts.

    Raises:
        TrustError: refused; its code is an :class:`~p2pdeploy.trust.releases.refusals.Attack`.
            Nothing is activated, nothing is remembered, what runs runs on.
        RefusedError: *service* is no service name.
    """
    role = service_role(service)
    parts = ReleaseBundle.from_bytes(bundle)
    walk = _Walk(parts, seen, now)
    document = walk.add_service(parts.service, role)
    delegated = walk.targets.get_delegated_role(role)
    path = f"{service}/{version}"
    if not isinstance(delegated, DelegatedRole) or not delegated.is_delegated_path(path):
        raise refused(Attack.UNKNOWN_RELEASE, "its publishers may not sign this name", where=path)
    return VerifiedRelease(
        release=release_in(document, service, version).release,
        order_keys=order_keys_in(walk.targets),
        seen=walk.seen_now(),
    )


def verify_order_keys(bundle: bytes, seen: Seen, *, now: dt.datetime) -> VerifiedKeys:
    """Judge a bundle for the keys of orders alone; arguments and errors as above."""
    walk = _Walk(ReleaseBundle.from_bytes(bundle), seen, now)
    return VerifiedKeys(order_keys=order_keys_in(walk.targets), seen=walk.seen_now())


def verify_publishers(bundle: bytes, root: bytes, service: str, *, now: dt.datetime) -> RoleKeys:
    """Who may sign releases of *service*: what a publisher must know before it reviews.

    Args:
        bundle: From anywhere; of the service, or without one.
        root: A root document that the publisher trusts.
        service: Its name.
        now: The publisher's own time, in UTC.

    Raises:
        TrustError: the bundle is refused, or nobody may sign for the service.
    """
    walk = _Walk(ReleaseBundle.from_bytes(bundle), first_seen(root), now)
    return keys_of_role(walk.targets, service_role(service))


class _Walk:
    """One way down the chain, noting what was seen."""

    def __init__(self, parts: ReleaseBundle, seen: Seen, now: dt.datetime) -> None:
        self._seen = seen
        self._at = max(now, seen.time_floor)
        self._roles: dict[str, SeenRole] = {}
        self._chain = TrustChain(seen.root, at=self._at)
        self._chain.add_roots(parts.roots)
        root = self._chain.root
        timestamp = self._chain.add_timestamp(parts.timestamp)
        self._note("timestamp", timestamp, root)
        self._check_is_young(timestamp)
        self._note("snapshot", self._chain.add_snapshot(parts.snapshot), root)
        self.targets = self._chain.add_targets(parts.targets, "targets", root)
        self._note("targets", self.targets, root)

    def add_service(self, data: bytes, role: str) -> Targets:
        document = self._chain.add_targets(data, role, self.targets)
        self._note(role, document, self.targets)
        return document

    def seen_now(self) -> Seen:
        return self._seen.with_roles(self._chain.root_bytes, self._roles, self._at)

    def _note(
        self, role: str, document: Timestamp | Snapshot | Targets, delegator: Root | Targets
    ) -> None:
        key_ids = _key_ids(delegator, role)
        least = self._seen.version_of(role, key_ids)
        if document.version < least:
            raise refused(
                Attack.ROLLBACK,
                f"version {document.version} is older than {least}, which was seen",
                where=role,
            )
        self._roles[role] = SeenRole(document.version, key_ids)

    def _check_is_young(self, timestamp: Timestamp) -> None:
        """A stolen key must not freeze hosts for years, nor a clock that was set back.

        It also bounds how far the time floor can run ahead of the true time: by one lifetime.
        """
        if timestamp.expires > self._at + TIMESTAMP_LIFETIME + CLOCK_BEHIND:
            raise refused(
                Attack.FREEZE,
                f"expires only at {timestamp.expires}; this host's clock says {self._at}",
                where="timestamp",
            )


def _key_ids(delegator: Delegator, role: str) -> tuple[str, ...]:
    return tuple(sorted(delegator.get_delegated_role(role).keyids))


class _KeysOfOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    threshold: int
    keys: list[str]


def order_keys_in(targets: Targets) -> OrderRoles:
    """The keys of orders that a targets document names.

    Raises:
        TrustError: it names none, or not as keys are named.
    """
    target = targets.targets.get(ORDER_KEYS_PATH)
    if target is None:
        raise refused(Attack.MALFORMED, "names no keys of orders", where="targets")
    try:
        roles = msgspec.convert(target.custom, dict[str, _KeysOfOrder])
        return {
            role: RoleKeys(
                threshold=said.threshold,
                public_keys=tuple(bytes.fromhex(key) for key in said.keys),
            )
            for role, said in roles.items()
        }
    except (msgspec.ValidationError, ValueError, ConfigError) as error:
        raise refused(Attack.MALFORMED, f"keys of orders: {error}", where="targets") from error
