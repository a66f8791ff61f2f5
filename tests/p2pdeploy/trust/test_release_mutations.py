"""Damaged bytes: refused with a TrustError, or without effect.  Nothing else may come of them."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from p2pdeploy.errors import TrustError
from p2pdeploy.trust.releases.bundle import ReleaseBundle
from p2pdeploy.trust.releases.verify import first_seen, verify_release
from p2pdeploy.trust.signing import SigningKey, key_id_of
from tests.p2pdeploy.trust.release_fleet import NOON, Fleet, Host, release, with_parts

PARTS = ("timestamp", "snapshot", "targets", "service")


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.publish(release("web", "1.0"))
    made.rotate_online(made.online)
    return made


def mutated(data: bytes, rng: random.Random) -> bytes:
    """One to three changes of the kinds that discs, networks and vandals make."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.randint(1, 40))
        match rng.randrange(6):
            case 0:
                data = data[:start] + bytes([rng.randrange(256)]) + data[start + 1 :]
            case 1:
                data = data[:start]
            case 2:
                data = data[:start] + data[end:]
            case 3:
                data = data[:start] + data[start:end] * 2 + data[end:]
            case 4:
                data = data[:start] + rng.randbytes(end - start) + data[end:]
            case _:
                data = data[:start] + rng.choice(b'0123456789"[]{},:ae').to_bytes(1) + data[end:]
    return data


def mutate_one_part(bundle: bytes, rng: random.Random) -> bytes:
    """A change somewhere in the bundle, or inside one document with the framing intact."""
    parts = ReleaseBundle.from_bytes(bundle)
    match rng.randrange(6):
        case 0:
            return mutated(bundle, rng)
        case 1:
            roots = list(parts.roots)
            chosen = rng.randrange(len(roots))
            roots[chosen] = mutated(roots[chosen], rng)
            return with_parts(bundle, roots=roots)
        case number:
            part = PARTS[number - 2]
            return with_parts(bundle, **{part: mutated(getattr(parts, part), rng)})


@pytest.mark.slow
@pytest.mark.parametrize(
    "count", [5_000, pytest.param(40_000, marks=pytest.mark.soak)], ids=["5000", "soak"]
)
def test_mutated_bundles_never_verify_to_something_else(fleet: Fleet, count: int):
    rng, bundle, seen = random.Random(3), fleet.bundle(), first_seen(fleet.first_root)
    right = Host(fleet).verify(bundle, "1.0")
    refused = 0
    for _ in range(count):
        damaged = mutate_one_part(bundle, rng)
        try:
            verified = verify_release(damaged, seen, service="web", version="1.0", now=NOON)
        except TrustError:
            refused += 1
        else:
            # A root may be damaged only where nothing is signed, so nothing of it is used.
            assert (verified.release, verified.order_keys) == (right.release, right.order_keys)
            assert verified.seen.roles == right.seen.roles
    assert refused > count * 0.9


WEIRD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    2**70,
    "",
    "\ud800",
    "x" * 500,
    "svc/web",
    [],
    [[]],
    {},
    {"": {}},
    "2026-03-01T12:00:00Z",
    "9999-12-31T23:59:59Z",
    "sha256",
)


def weirder(value: Any, rng: random.Random) -> Any:
    """The same JSON with one node replaced, dropped or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        name = rng.choice(sorted(value))
        if rng.random() < 0.15:
            return {other: item for other, item in value.items() if other != name}
        return {**value, name: weirder(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        chosen = rng.randrange(len(value))
        if rng.random() < 0.3:
            return [*value, value[chosen]]
        return [*value[:chosen], weirder(value[chosen], rng), *value[chosen + 1 :]]
    return rng.choice(WEIRD)


def sealed(content: Any, role: str, *signers: SigningKey) -> bytes:
    """Signed by the right keys over plain JSON, which is canonical as long as it is ASCII."""
    payload = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    signatures = [
        {"keyid": key_id_of(role, item.public_key), "sig": item.sign(payload).hex()}
        for item in signers
    ]
    return b'{"signatures":%s,"signed":%s}' % (json.dumps(signatures).encode(), payload)


def content_of(document: bytes) -> Any:
    return json.loads(document)["signed"]


def naming(content: Any, file: str, document: bytes) -> Any:
    """*content* with the hash and the length of another *document*, so that it is read."""
    digest = hashlib.sha256(document).hexdigest()
    meta = {**content["meta"][file], "hashes": {"sha256": digest}, "length": len(document)}
    return {**content, "meta": {**content["meta"], file: meta}}


def with_weird_part(fleet: Fleet, bundle: bytes, part: str, change: Callable[[Any], Any]) -> bytes:
    """One document said by a thief of its keys and of the online keys, the rest made to fit."""
    parts = ReleaseBundle.from_bytes(bundle)
    timestamp, snapshot = content_of(parts.timestamp), content_of(parts.snapshot)
    changed: dict[str, Any] = {}
    match part:
        case "roots":
            weird = change(content_of(parts.roots[-1]))
            changed["roots"] = [sealed(weird, "root", *fleet.root)]
        case "timestamp":
            pass  # below, when it fits
        case "snapshot":
            snapshot = change(snapshot)
        case "targets":
            weird = change(content_of(parts.targets))
            changed["targets"] = sealed(weird, "targets", fleet.targets)
            snapshot = naming(snapshot, "targets.json", changed["targets"])
        case _:
            changed["service"] = sealed(change(content_of(parts.service)), "publisher", fleet.web)
            snapshot = naming(snapshot, "svc/web.json", changed["service"])
    changed["snapshot"] = sealed(snapshot, "snapshot", fleet.online.snapshot)
    timestamp = naming(timestamp, "snapshot.json", changed["snapshot"])
    if part == "timestamp":
        timestamp = change(timestamp)
    changed["timestamp"] = sealed(timestamp, "timestamp", fleet.online.timestamp)
    return with_parts(bundle, **changed)


def test_rebuilt_documents_verify_when_nothing_is_weird(fleet: Fleet):
    """Otherwise the test below would prove nothing."""
    for part in (*PARTS, "roots"):
        bundle = with_weird_part(fleet, fleet.bundle(), part, lambda content: content)
        Host(fleet).verify(bundle, "1.0")


@pytest.mark.slow
@pytest.mark.parametrize("part", [*PARTS, "roots"])
def test_weird_documents_that_the_right_keys_signed_are_refused_politely(fleet: Fleet, part: str):
    """A key's thief says strange things; python-tuf's surprise must stay inside this package."""
    rng, bundle, seen = random.Random(4), fleet.bundle(), first_seen(fleet.first_root)
    reasons: set[str] = set()
    for _ in range(800):
        damaged = with_weird_part(fleet, bundle, part, lambda content: weirder(content, rng))
        try:
            verify_release(damaged, seen, service="web", version="1.0", now=NOON)
        except TrustError as error:
            reasons.add(error.code)
    assert len(reasons) >= 3, "they got past the hashes and the signatures"
