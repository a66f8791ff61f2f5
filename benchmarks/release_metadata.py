"""What a host loads and how long it judges, when a service has had 3,000,000 versions.

Everything is signed by the real path: proposed, signed by a publisher's key, joined, accepted.
First 2,000 versions one after the other; then a repository whose counters stand at 3,000,000 and
whose live releases are the last ones, to which the path adds one more.  The figures must be the
same, because only live releases are named.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import sys
import time

import msgspec
from result import ResultWriter

from p2pdeploy.trust.releases.collecting import join
from p2pdeploy.trust.releases.documents import parse_document, payload_of, to_document
from p2pdeploy.trust.releases.keys import OnlineKeys, TopKeys
from p2pdeploy.trust.releases.library import MetaFile, Snapshot, Targets, Timestamp
from p2pdeploy.trust.releases.limits import RELEASES_LIVE_MAX, SERVICE_LIFETIME
from p2pdeploy.trust.releases.proposals import (
    Proposal,
    propose_release,
    propose_root,
    propose_targets,
    sign,
)
from p2pdeploy.trust.releases.release_target import LiveRelease, ReleaseTarget
from p2pdeploy.trust.releases.repository import (
    Repository,
    accept_release,
    bundle_for,
    new_repository,
)
from p2pdeploy.trust.releases.verify import first_seen, verify_release
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey

LIMIT_KIB = 64.0
LIMIT_MS = 10.0
NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
SERVICE = "billing-frontend"
MANY = 3_000_000
ROUNDS = 100

ROOT, TARGETS, PUBLISHER = (SigningKey.generate(role="bench") for _ in range(3))
ONLINE = OnlineKeys(
    snapshot=SigningKey.generate(role="bench"), timestamp=SigningKey.generate(role="bench")
)


def one(key: SigningKey) -> RoleKeys:
    return RoleKeys(threshold=1, public_keys=(key.public_key,))


def joined(repository: Repository | None, proposal: Proposal, key: SigningKey) -> Proposal:
    if repository is None:
        return msgspec.structs.replace(proposal, signatures=dict([sign(proposal, key)]))
    return join(repository, proposal, *sign(proposal, key))


def open_repository(services: int) -> Repository:
    """A fleet with one publisher's key for each of *services* services."""
    top = TopKeys(
        root=one(ROOT),
        targets=one(TARGETS),
        snapshot=one(ONLINE.snapshot),
        timestamp=one(ONLINE.timestamp),
    )
    publishers = {
        f"service-{number:03}": one(SigningKey.generate(role="bench"))
        for number in range(services - 1)
    }
    orders = {role: one(ROOT) for role in ("rollout", "deployer", "go", "abort", "enrol")}
    targets = propose_targets(
        None, order_keys=orders, services={**publishers, SERVICE: one(PUBLISHER)}, now=NOW
    )
    return new_repository(
        joined(None, propose_root(None, top, now=NOW), ROOT),
        joined(None, targets, TARGETS),
        ONLINE,
        now=NOW,
    )


def release(number: int) -> ReleaseTarget:
    version = f"2026.11.21-{number}+g{number:010x}"
    return ReleaseTarget.of_manifest(SERVICE, version, version.encode() * 9, size_bytes=10**9)


def publish(repository: Repository, number: int) -> Repository:
    current = repository.services.get(SERVICE)
    proposal = propose_release(current, release(number), keep=(), now=NOW)
    return accept_release(repository, joined(repository, proposal, PUBLISHER), ONLINE, now=NOW)


def with_counters_at(repository: Repository, number: int) -> Repository:
    """As if *number* versions had been published: counters there, the last ones live."""
    live = [
        LiveRelease(release=release(serial), serial=serial)
        for serial in range(number - RELEASES_LIVE_MAX + 1, number + 1)
    ]
    targets = {item.release.path: item.to_target() for item in live}
    document = signed_document(
        Targets(number, expires=NOW + SERVICE_LIFETIME, targets=targets),
        f"svc/{SERVICE}",
        PUBLISHER,
    )
    before = parse_document(repository.snapshot, Snapshot, where="snapshot").signed
    meta = {**before.meta, f"svc/{SERVICE}.json": MetaFile.from_data(number, document, ["sha256"])}
    snapshot = signed_document(
        Snapshot(number, expires=before.expires, meta=meta), "snapshot", ONLINE.snapshot
    )
    timestamp = parse_document(repository.timestamp, Timestamp, where="timestamp").signed
    timestamp.version = number
    timestamp.snapshot_meta = MetaFile.from_data(number, snapshot, ["sha256"])
    return msgspec.structs.replace(
        repository,
        services={SERVICE: document},
        snapshot=snapshot,
        timestamp=signed_document(timestamp, "timestamp", ONLINE.timestamp),
    )


def signed_document(content: Targets | Snapshot | Timestamp, role: str, key: SigningKey) -> bytes:
    proposal = Proposal(role=role, payload=payload_of(content))
    return to_document(proposal.payload, type(content), dict([sign(proposal, key)]), where=role)


def measure(results: ResultWriter, repository: Repository, number: int, **details: object) -> None:
    """The bundle that a host without any memory needs for the newest version, and its judgement."""
    bundle = bundle_for(repository, SERVICE, root_version=0)
    seen, wanted, times_ms = first_seen(repository.roots[0]), release(number), list[float]()
    for _ in range(ROUNDS):
        begun = time.process_time()
        verified = verify_release(bundle, seen, service=SERVICE, version=wanted.version, now=NOW)
        times_ms.append((time.process_time() - begun) * 1e3)
        assert verified.release == wanted
    results.add("release-bundle", len(bundle) / 1024, LIMIT_KIB, "KiB", versions=number, **details)
    results.add(
        "release-verify",
        statistics.median(times_ms),
        LIMIT_MS,
        "ms",
        versions=number,
        worst_ms=round(max(times_ms), 2),
        rounds=ROUNDS,
        **details,
    )


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--versions", type=int, default=2_000)
    arguments.add_argument("--services", type=int, default=50)
    asked = arguments.parse_args()
    results = ResultWriter()
    repository = open_repository(asked.services)
    begun = time.perf_counter()
    for number in range(1, asked.versions + 1):
        repository = publish(repository, number)
    publish_ms = (time.perf_counter() - begun) * 1e3 / asked.versions
    details = {"services": asked.services, "live": RELEASES_LIVE_MAX}
    measure(results, repository, asked.versions, publish_ms=round(publish_ms, 2), **details)
    many = publish(with_counters_at(repository, MANY - 1), MANY)
    measure(results, many, MANY, **details)
    return results.exit_code


if __name__ == "__main__":
    sys.exit(main())
