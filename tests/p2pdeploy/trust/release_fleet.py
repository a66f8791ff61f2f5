"""A fleet's release keys and documents, made by the real signing path, and one host of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import msgspec
import pytest

from p2pdeploy.errors import TrustError
from p2pdeploy.trust.releases.bundle import ReleaseBundle
from p2pdeploy.trust.releases.collecting import join
from p2pdeploy.trust.releases.documents import parse_document, payload_of, to_document
from p2pdeploy.trust.releases.keys import OnlineKeys, TopKeys
from p2pdeploy.trust.releases.library import (
    Metadata,
    MetaFile,
    Root,
    Signature,
    Snapshot,
    Targets,
    Timestamp,
)
from p2pdeploy.trust.releases.online import sign_snapshot, sign_timestamp
from p2pdeploy.trust.releases.proposals import (
    Proposal,
    propose_release,
    propose_root,
    propose_targets,
    services_of,
    sign,
)
from p2pdeploy.trust.releases.refusals import Attack
from p2pdeploy.trust.releases.release_target import ReleaseTarget
from p2pdeploy.trust.releases.repository import (
    Repository,
    accept_release,
    accept_root,
    accept_targets,
    bundle_for,
    new_repository,
)
from p2pdeploy.trust.releases.seen import Seen
from p2pdeploy.trust.releases.verify import VerifiedRelease, first_seen, verify_release
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey, key_id_of

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
ORDER_KEYS = {"rollout": RoleKeys(threshold=1, public_keys=(bytes(32),))}


def key(number: int) -> SigningKey:
    """The same key for the same number, so that a failure can be repeated."""
    return SigningKey(number.to_bytes(32, "big"), role="test")


def keys(threshold: int, *signers: SigningKey) -> RoleKeys:
    return RoleKeys(threshold=threshold, public_keys=tuple(item.public_key for item in signers))


def signed(proposal: Proposal, *signers: SigningKey) -> Proposal:
    """Signatures without a look at who may sign: for forgers as well."""
    return msgspec.structs.replace(
        proposal, signatures=dict(sign(proposal, item) for item in signers)
    )


def release(service: str, version: str, content: bytes = b"") -> ReleaseTarget:
    manifest = b"manifest of %s %s %s" % (service.encode(), version.encode(), content)
    return ReleaseTarget.of_manifest(service, version, manifest, size_bytes=1_000)


class Fleet:
    """Root 2 of 3, targets 1 of 1, service ``web`` 1 of 1 and ``bank`` 2 of 3."""

    root = (key(1), key(2), key(3))
    targets = key(10)
    online = OnlineKeys(snapshot=key(20), timestamp=key(21))
    web = key(30)
    bank = (key(40), key(41), key(42))

    def __init__(self, now: dt.datetime = NOON) -> None:
        self.now = now
        root = signed(propose_root(None, self.top_keys(), now=now), *self.root[:2])
        services = {"web": keys(1, self.web), "bank": keys(2, *self.bank)}
        targets = propose_targets(None, order_keys=ORDER_KEYS, services=services, now=now)
        self.repository = new_repository(root, signed(targets, self.targets), self.online, now=now)
        self.first_root = self.repository.roots[0]

    def top_keys(self, online: OnlineKeys | None = None) -> TopKeys:
        online = online or self.online
        return TopKeys(
            root=keys(2, *self.root),
            targets=keys(1, self.targets),
            snapshot=keys(1, online.snapshot),
            timestamp=keys(1, online.timestamp),
        )

    def publish(self, item: ReleaseTarget, *signers: SigningKey) -> Repository:
        current = self.repository.services.get(item.service)
        proposal = propose_release(current, item, keep=(), now=self.now)
        for signer in signers or (self.web,):
            proposal = join(self.repository, proposal, *sign(proposal, signer))
        self.repository = accept_release(self.repository, proposal, self.online, now=self.now)
        return self.repository

    def rotate_online(self, online: OnlineKeys) -> None:
        current = self.repository.roots[-1]
        proposal = propose_root(current, self.top_keys(online), now=self.now)
        proposal = signed(proposal, *self.root[:2])
        self.repository = accept_root(self.repository, proposal, online, now=self.now)
        self.online = online

    def change_publishers(self, service: str, after: RoleKeys, *renewed: Proposal) -> None:
        services = {**services_of(self.repository.targets), service: after}
        proposal = propose_targets(
            self.repository.targets, order_keys=ORDER_KEYS, services=services, now=self.now
        )
        self.repository = accept_targets(
            self.repository,
            signed(proposal, self.targets),
            self.online,
            now=self.now,
            services=renewed,
        )

    def bundle(self, service: str = "web") -> bytes:
        return bundle_for(self.repository, service, root_version=0)


class Host:
    """Remembers what it saw, as a host does."""

    def __init__(self, fleet: Fleet) -> None:
        self.seen = first_seen(fleet.first_root)
        self.now = NOON

    def verify(self, bundle: bytes, version: str, service: str = "web") -> VerifiedRelease:
        verified = verify_release(bundle, self.seen, service=service, version=version, now=self.now)
        self.seen = Seen.from_bytes(verified.seen.to_bytes())
        return verified

    def assert_refuses(
        self, attack: Attack, bundle: bytes, version: str, *, service: str = "web", where: str = ""
    ) -> None:
        before = self.seen
        with pytest.raises(TrustError) as caught:
            self.verify(bundle, version, service)
        assert caught.value.code == attack.value, caught.value
        if where:
            assert caught.value.where == where
        assert self.seen is before, "what is refused is not remembered"


def with_parts(bundle: bytes, **parts: bytes | Sequence[bytes]) -> bytes:
    """The bundle with some of its documents exchanged."""
    return msgspec.structs.replace(ReleaseBundle.from_bytes(bundle), **parts).to_bytes()


def re_signed(fleet: Fleet, changed: Mapping[str, bytes | None], service: str = "web") -> bytes:
    """What a thief of both online keys can make of documents that he has."""
    root, repository = fleet.repository.root, fleet.repository
    snapshot = sign_snapshot(
        root, repository.snapshot, changed, fleet.online.snapshot, now=fleet.now
    )
    timestamp = sign_timestamp(
        root, repository.timestamp, snapshot, fleet.online.timestamp, now=fleet.now
    )
    return with_parts(
        fleet.bundle(service),
        snapshot=snapshot,
        timestamp=timestamp,
        **({"targets": changed["targets"]} if changed.get("targets") else {}),
        **({"service": changed[f"svc/{service}"]} if changed.get(f"svc/{service}") else {}),
    )


def forged_document(
    content: Root | Timestamp | Snapshot | Targets, role: str, *signers: SigningKey
) -> bytes:
    """A document past every check that the signing path makes."""
    payload = payload_of(content)
    signatures = {
        (key_id := key_id_of(role, item.public_key)): Signature(key_id, item.sign(payload).hex())
        for item in signers
    }
    return Metadata(content, signatures).to_bytes()


def as_document(proposal: Proposal, *signers: SigningKey) -> bytes:
    """A document with whatever signatures its forger can make."""
    kind = Root if proposal.role == "root" else Targets
    return to_document(
        proposal.payload, kind, signed(proposal, *signers).signatures, where=proposal.role
    )


def timestamp_for(
    fleet: Fleet, snapshot: bytes, *, version: int, expires: dt.datetime | None = None
) -> bytes:
    """What a thief of the timestamp key can say."""
    parsed = parse_document(snapshot, Snapshot, where="snapshot").signed
    forged = Timestamp(
        version,
        expires=expires or fleet.now + DAY,
        snapshot_meta=MetaFile.from_data(parsed.version, snapshot, ["sha256"]),
    )
    return forged_document(forged, "timestamp", fleet.online.timestamp)
