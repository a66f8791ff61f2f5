"""What a host refuses, each named after the attack.

The attacker stands where it hurts most: between host and control plane, and often in possession
of the online keys, so that the only thing in the way is the defence that the test is about.
"""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from p2pdeploy.errors import IntegrityError, TrustError
from p2pdeploy.trust.releases.bundle import ReleaseBundle
from p2pdeploy.trust.releases.documents import parse_document, to_document
from p2pdeploy.trust.releases.library import (
    MetaFile,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from p2pdeploy.trust.releases.limits import (
    BUNDLE_BYTES_MAX,
    ROOT_BYTES_MAX,
    ROOTS_PER_BUNDLE_MAX,
    SERVICE_BYTES_MAX,
    SNAPSHOT_BYTES_MAX,
    TARGETS_BYTES_MAX,
    TIMESTAMP_BYTES_MAX,
    VERSION_MAX,
)
from p2pdeploy.trust.releases.online import sign_snapshot
from p2pdeploy.trust.releases.proposals import (
    Proposal,
    propose_release,
    propose_renewal,
    propose_root,
    propose_targets,
)
from p2pdeploy.trust.releases.refusals import Attack
from p2pdeploy.trust.releases.release_target import check_manifest
from p2pdeploy.trust.releases.repository import bundle_for, refresh
from p2pdeploy.trust.releases.seen import Seen
from p2pdeploy.trust.releases.verify import first_seen
from p2pdeploy.trust.signing import SigningKey, key_id_of
from tests.p2pdeploy.trust.release_fleet import (
    DAY,
    HOUR,
    NOON,
    ORDER_KEYS,
    Fleet,
    Host,
    forged_document,
    key,
    keys,
    re_signed,
    release,
    signed,
    with_parts,
)


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.publish(release("web", "1.0"))
    made.publish(release("bank", "1.0"), *made.bank[:2])
    return made


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


# -- what is right ---------------------------------------------------------------------------


def test_a_host_accepts_what_its_publishers_signed(fleet: Fleet):
    host = Host(fleet)

    verified = host.verify(fleet.bundle(), "1.0")

    assert verified.release == release("web", "1.0")
    assert verified.order_keys == ORDER_KEYS
    assert host.verify(fleet.bundle("bank"), "1.0", "bank").release == release("bank", "1.0")


def test_the_same_bundle_is_accepted_again(fleet: Fleet):
    host = Host(fleet)
    first = host.verify(fleet.bundle(), "1.0")

    assert host.verify(fleet.bundle(), "1.0") == first


# -- rollback --------------------------------------------------------------------------------


def test_rollback_to_an_older_timestamp(fleet: Fleet):
    host, old = Host(fleet), fleet.bundle()
    fleet.publish(release("web", "2.0"))
    host.verify(fleet.bundle(), "2.0")

    host.assert_refuses(Attack.ROLLBACK, old, "1.0", where="timestamp")


def test_rollback_to_an_older_snapshot_under_a_new_timestamp(fleet: Fleet):
    host, old = Host(fleet), ReleaseBundle.from_bytes(fleet.bundle())
    fleet.publish(release("web", "2.0"))
    host.verify(fleet.bundle(), "2.0")
    forged = timestamp_for(fleet, old.snapshot, version=99)

    host.assert_refuses(
        Attack.ROLLBACK,
        msgspec.structs.replace(old, timestamp=forged).to_bytes(),
        "1.0",
        where="snapshot",
    )


def test_rollback_to_older_targets_by_a_thief_of_the_online_keys(fleet: Fleet):
    host, old = Host(fleet), fleet.repository.targets
    fleet.change_publishers("bank", keys(1, *fleet.bank))
    host.verify(fleet.bundle(), "1.0")

    host.assert_refuses(Attack.ROLLBACK, re_signed(fleet, {"targets": old}), "1.0", where="targets")


def test_rollback_to_an_older_release_by_a_thief_of_the_online_keys(fleet: Fleet):
    host, old = Host(fleet), fleet.repository.services["web"]
    fleet.publish(release("web", "2.0"))
    host.verify(fleet.bundle(), "2.0")

    host.assert_refuses(Attack.ROLLBACK, re_signed(fleet, {"svc/web": old}), "1.0", where="svc/web")


def test_rollback_to_an_older_root_whose_online_keys_were_stolen(fleet: Fleet):
    host, stolen = Host(fleet), fleet.bundle()
    fleet.rotate_online(type(fleet.online)(snapshot=key(220), timestamp=key(221)))
    host.verify(fleet.bundle(), "1.0")

    host.assert_refuses(Attack.WRONG_KEY, stolen, "1.0", where="timestamp")


# -- freeze ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "age", "renewals"),
    [
        ("timestamp", DAY, ()),
        ("snapshot", 7 * DAY, ("timestamp",)),
        ("targets", 90 * DAY, ("timestamp", "snapshot")),
        ("svc/web", 365 * DAY, ("timestamp", "snapshot", "targets", "root")),
        ("root", 365 * DAY, ("timestamp", "snapshot", "targets")),
    ],
)
def test_freeze_with_an_expired_document(
    fleet: Fleet, role: str, age: dt.timedelta, renewals: tuple[str, ...]
):
    host, before = Host(fleet), fleet.repository
    host.now = fleet.now = NOON + age
    parts: dict[str, bytes] = {"targets": before.targets, "snapshot": before.snapshot}
    roots = list(before.roots)
    if "root" in renewals:
        renewed = propose_root(roots[-1], fleet.top_keys(), now=fleet.now - HOUR)
        roots.append(as_document(renewed, *fleet.root[:2]))
    if "targets" in renewals:
        renewed = propose_targets(
            before.targets,
            order_keys=ORDER_KEYS,
            services={"web": keys(1, fleet.web)},
            now=fleet.now,
        )
        parts["targets"] = as_document(renewed, fleet.targets)
    if "snapshot" in renewals:
        changed = {"targets": parts["targets"]}
        parts["snapshot"] = sign_snapshot(
            before.root, before.snapshot, changed, fleet.online.snapshot, now=fleet.now
        )
    if "timestamp" in renewals:
        parts["timestamp"] = timestamp_for(fleet, parts["snapshot"], version=9)
    frozen = with_parts(fleet.bundle(), roots=roots, **parts)

    # Of the root nothing is said by an own document: python-tuf tells it with the timestamp.
    where = "timestamp" if role == "root" else role
    host.assert_refuses(Attack.FREEZE, frozen, "1.0", where=where)


def test_freeze_by_a_timestamp_that_would_live_for_years(fleet: Fleet):
    forged = timestamp_for(fleet, fleet.repository.snapshot, version=99, expires=NOON + 3_650 * DAY)

    Host(fleet).assert_refuses(
        Attack.FREEZE, with_parts(fleet.bundle(), timestamp=forged), "1.0", where="timestamp"
    )


def test_freeze_with_a_clock_that_was_set_back_before_the_host_ever_asked(fleet: Fleet):
    host = Host(fleet)
    host.now = NOON - 30 * DAY

    host.assert_refuses(Attack.FREEZE, fleet.bundle(), "1.0", where="timestamp")


def test_freeze_with_a_clock_that_was_set_back_below_what_was_proved(fleet: Fleet):
    """``bank`` was frozen until it expired; then the host is told that it is yesterday."""
    host = Host(fleet)
    host.now = fleet.now = NOON + 365 * DAY
    fleet.now -= HOUR
    fleet.rotate_online(fleet.online)
    fleet.change_publishers("web", keys(1, fleet.web))
    fleet.publish(release("web", "2.0"))
    host.verify(fleet.bundle(), "2.0")
    host.now -= HOUR / 2

    host.assert_refuses(
        Attack.FREEZE, fleet.bundle("bank"), "1.0", service="bank", where="svc/bank"
    )


def test_a_clock_that_jumped_ahead_for_a_moment_does_not_lock_a_host_out(fleet: Fleet):
    """What expired is refused, so no time is remembered that the control plane did not reach."""
    host = Host(fleet)
    host.now = NOON + 3_650 * DAY
    host.assert_refuses(Attack.FREEZE, fleet.bundle(), "1.0")

    host.now = NOON
    host.verify(fleet.bundle(), "1.0")


# -- mix and match ---------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["snapshot", "service"])
def test_mix_and_match_of_documents_of_two_moments(fleet: Fleet, part: str):
    old = ReleaseBundle.from_bytes(fleet.bundle())
    fleet.publish(release("web", "2.0"))
    mixed = with_parts(fleet.bundle(), **{part: getattr(old, part)})

    Host(fleet).assert_refuses(Attack.MIX_AND_MATCH, mixed, "1.0")


def test_mix_and_match_of_targets_of_two_moments(fleet: Fleet):
    old = fleet.repository.targets
    fleet.change_publishers("web", keys(1, fleet.web, key(31)))

    Host(fleet).assert_refuses(
        Attack.MIX_AND_MATCH, with_parts(fleet.bundle(), targets=old), "1.0", where="targets"
    )


def test_mix_and_match_of_two_documents_of_one_version(fleet: Fleet):
    """A publisher's key signs twice for one version; hosts must all get the same."""
    current = fleet.repository.services["web"]
    other = propose_release(current, release("web", "2.0", b"evil"), keep=(), now=NOON)
    fleet.publish(release("web", "2.0"))
    swapped = with_parts(fleet.bundle(), service=as_document(other, fleet.web))

    Host(fleet).assert_refuses(Attack.MIX_AND_MATCH, swapped, "2.0", where="svc/web")


def test_mix_and_match_under_a_snapshot_that_names_no_hashes(fleet: Fleet):
    meta = parse_document(fleet.repository.snapshot, Snapshot, where="snapshot").signed.meta
    meta = {name: MetaFile(item.version) for name, item in meta.items()}
    nameless = Snapshot(99, expires=NOON + DAY, meta=meta)
    snapshot = forged_document(nameless, "snapshot", fleet.online.snapshot)
    forged = with_parts(
        fleet.bundle(),
        snapshot=snapshot,
        timestamp=timestamp_for(fleet, snapshot, version=99),
    )

    Host(fleet).assert_refuses(Attack.MIX_AND_MATCH, forged, "1.0", where="targets")


# -- endless data ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "bytes_max"),
    [
        ("timestamp", TIMESTAMP_BYTES_MAX),
        ("snapshot", SNAPSHOT_BYTES_MAX),
        ("targets", TARGETS_BYTES_MAX),
        ("service", SERVICE_BYTES_MAX),
    ],
)
def test_endless_data_in_one_document(fleet: Fleet, part: str, bytes_max: int):
    """Spaces after a JSON value are legal, so these would be read to their end."""
    document: bytes = getattr(ReleaseBundle.from_bytes(fleet.bundle()), part)
    endless = with_parts(fleet.bundle(), **{part: document.ljust(bytes_max + 1)})

    with pytest.raises(TrustError, match="are read") as caught:
        Host(fleet).verify(endless, "1.0")
    assert caught.value.code == Attack.ENDLESS_DATA.value


def test_endless_data_below_the_limit_ends_where_the_snapshot_says(fleet: Fleet):
    longer = fleet.repository.services["web"] + b" "

    Host(fleet).assert_refuses(
        Attack.ENDLESS_DATA, with_parts(fleet.bundle(), service=longer), "1.0", where="svc/web"
    )


def test_endless_roots(fleet: Fleet):
    host, root = Host(fleet), fleet.first_root

    many = with_parts(fleet.bundle(), roots=[root] * (ROOTS_PER_BUNDLE_MAX + 1))
    host.assert_refuses(Attack.ENDLESS_DATA, many, "1.0", where="root")
    large = with_parts(fleet.bundle(), roots=[root.ljust(ROOT_BYTES_MAX + 1)])
    host.assert_refuses(Attack.ENDLESS_DATA, large, "1.0", where="root")


def test_endless_bundle(fleet: Fleet):
    endless = fleet.bundle().ljust(BUNDLE_BYTES_MAX + 1)

    Host(fleet).assert_refuses(Attack.ENDLESS_DATA, endless, "1.0", where="bundle")


@pytest.mark.parametrize(
    "bomb", [b"[" * 8_000, b'{"a":' * 1_500, b"9" * 8_000, b'"' + b"\\u0000" * 9]
)
def test_parser_bomb_in_place_of_a_document(fleet: Fleet, bomb: bytes):
    bundle = with_parts(fleet.bundle(), timestamp=bomb)

    Host(fleet).assert_refuses(Attack.MALFORMED, bundle, "1.0", where="timestamp")


# -- keys ------------------------------------------------------------------------------------


def test_below_threshold_is_refused_even_with_the_online_keys(fleet: Fleet):
    current = fleet.repository.services["bank"]
    proposal = propose_release(current, release("bank", "6.6"), keep=(), now=NOON)
    document = as_document(proposal, fleet.bank[0])

    Host(fleet).assert_refuses(
        Attack.BELOW_THRESHOLD,
        re_signed(fleet, {"svc/bank": document}, "bank"),
        "6.6",
        service="bank",
        where="svc/bank",
    )


def test_one_key_under_two_names_does_not_count_twice(fleet: Fleet):
    proposal = propose_targets(
        fleet.repository.targets,
        order_keys=ORDER_KEYS,
        services={"web": keys(2, fleet.web, key(31))},
        now=NOON,
    )
    one = fleet.web.public_key.hex().encode()
    doubled = msgspec.structs.replace(
        proposal, payload=proposal.payload.replace(key(31).public_key.hex().encode(), one)
    )
    targets = as_document(doubled, fleet.targets)
    release_proposal = propose_renewal(fleet.repository.services["web"], "web", now=NOON)
    first, second = (key_id_of("publisher", item.public_key) for item in (fleet.web, key(31)))
    signature = fleet.web.sign(release_proposal.payload)
    document = to_document(
        release_proposal.payload, Targets, {first: signature, second: signature}, where="svc/web"
    )

    Host(fleet).assert_refuses(
        Attack.BELOW_THRESHOLD,
        re_signed(fleet, {"targets": targets, "svc/web": document}),
        "1.0",
        where="svc/web",
    )


def test_a_publisher_signs_for_another_service(fleet: Fleet):
    current = fleet.repository.services["bank"]
    proposal = propose_release(current, release("bank", "6.6"), keep=(), now=NOON)
    document = as_document(proposal, fleet.web)

    Host(fleet).assert_refuses(
        Attack.WRONG_KEY,
        re_signed(fleet, {"svc/bank": document}, "bank"),
        "6.6",
        service="bank",
        where="svc/bank",
    )


def test_a_publisher_names_another_services_release_in_its_own_document(fleet: Fleet):
    proposal = propose_release(
        fleet.repository.services["bank"], release("bank", "6.6"), keep=(), now=NOON
    )
    document = as_document(msgspec.structs.replace(proposal, role="svc/web"), fleet.web)
    forged = re_signed(fleet, {"svc/web": document})

    Host(fleet).assert_refuses(Attack.UNKNOWN_RELEASE, forged, "6.6", where="web/6.6")


def test_a_publisher_signs_names_that_were_not_given_to_it(fleet: Fleet):
    proposal = propose_targets(
        fleet.repository.targets,
        order_keys=ORDER_KEYS,
        services={"web": keys(1, fleet.web)},
        now=NOON,
    )
    payload = proposal.payload.replace(b'"web/*"', b'"web/2.*"')
    targets = as_document(msgspec.structs.replace(proposal, payload=payload), fleet.targets)
    narrowed = re_signed(fleet, {"targets": targets})

    Host(fleet).assert_refuses(Attack.UNKNOWN_RELEASE, narrowed, "1.0", where="web/1.0")


def test_a_thief_of_the_online_keys_brings_no_release_of_his_own(fleet: Fleet):
    current = fleet.repository.services["web"]
    proposal = propose_release(current, release("web", "6.6"), keep=(), now=NOON)
    document = as_document(proposal, fleet.online.snapshot, fleet.online.timestamp, key(666))

    Host(fleet).assert_refuses(
        Attack.WRONG_KEY, re_signed(fleet, {"svc/web": document}), "6.6", where="svc/web"
    )


def test_a_whole_fleet_of_unknown_keys(fleet: Fleet):
    class Strangers(Fleet):
        root = (key(901), key(902), key(903))
        targets = key(910)
        online = type(fleet.online)(snapshot=key(920), timestamp=key(921))
        web = key(930)

    strangers = Strangers()
    strangers.publish(release("web", "1.0"))

    Host(fleet).assert_refuses(Attack.WRONG_KEY, strangers.bundle(), "1.0", where="timestamp")


@pytest.mark.parametrize(
    ("signers", "attack"),
    [
        ((key(901), key(902)), Attack.WRONG_KEY),  # strangers who vouch for themselves
        ((key(1), key(901), key(902)), Attack.BELOW_THRESHOLD),  # with one stolen root key
        ((key(1), key(2)), Attack.WRONG_KEY),  # old keys for keys that did not agree
    ],
)
def test_root_rotation_by_too_few(fleet: Fleet, signers: tuple[SigningKey, ...], attack: Attack):
    theirs = fleet.top_keys()
    theirs = msgspec.structs.replace(theirs, root=keys(2, key(901), key(902)))
    proposal = propose_root(fleet.first_root, theirs, now=NOON)
    bundle = with_parts(fleet.bundle(), roots=[as_document(proposal, *signers)])

    Host(fleet).assert_refuses(attack, bundle, "1.0", where="root")


def test_a_root_that_skips_one(fleet: Fleet):
    for online in (fleet.online, fleet.online):
        fleet.rotate_online(online)
    bundle = bundle_for(fleet.repository, "web", root_version=2)

    Host(fleet).assert_refuses(Attack.MIX_AND_MATCH, bundle, "1.0", where="root")


# -- names -----------------------------------------------------------------------------------


def test_unknown_release_and_unknown_service(fleet: Fleet):
    host = Host(fleet)

    host.assert_refuses(Attack.UNKNOWN_RELEASE, fleet.bundle(), "9.9", where="web/9.9")
    host.assert_refuses(Attack.UNKNOWN_RELEASE, fleet.bundle(), "1.0", service="other")


def test_a_release_that_is_live_no_more_is_unknown(fleet: Fleet):
    for number in range(128):
        fleet.publish(release("web", f"2.{number}"))

    Host(fleet).assert_refuses(Attack.UNKNOWN_RELEASE, fleet.bundle(), "1.0")


def test_fast_forward_to_a_version_that_nothing_could_follow(fleet: Fleet):
    forged = timestamp_for(fleet, fleet.repository.snapshot, version=VERSION_MAX)

    Host(fleet).assert_refuses(
        Attack.FAST_FORWARD, with_parts(fleet.bundle(), timestamp=forged), "1.0"
    )


def test_a_swapped_manifest_has_not_the_signed_digest(fleet: Fleet):
    verified = Host(fleet).verify(fleet.bundle(), "1.0")

    check_manifest(verified.release, b"manifest of web 1.0 ")
    with pytest.raises(IntegrityError, match="not the signed one"):
        check_manifest(verified.release, b"manifest of web 6.6 ")
    with pytest.raises(IntegrityError, match="19 bytes, 20 were signed"):
        check_manifest(verified.release, b"manifest of web 1.0")


def test_what_was_seen_is_refused_when_it_is_damaged(fleet: Fleet):
    with pytest.raises(TrustError):
        Seen.from_bytes(first_seen(fleet.first_root).to_bytes()[:-1])
    with pytest.raises(TrustError):
        first_seen(fleet.repository.targets)


def test_a_day_without_news_is_no_attack_when_the_control_plane_signs_on(fleet: Fleet):
    host = Host(fleet)
    for day in range(1, 20):
        host.now = fleet.now = NOON + day * DAY
        fleet.repository = refresh(fleet.repository, fleet.online, now=fleet.now)
        host.verify(fleet.bundle(), "1.0")
