"""A host refuses what the wrong keys signed, and what has the wrong name.

The attacker stands where it hurts most: between host and control plane, and often in possession
of the online keys, so that the only thing in the way is the defence that the test is about.
"""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.errors import IntegrityError, TrustError
from p2pdeploy.trust.releases.documents import to_document
from p2pdeploy.trust.releases.library import (
    Targets,
)
from p2pdeploy.trust.releases.limits import (
    VERSION_MAX,
)
from p2pdeploy.trust.releases.proposals import (
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
    NOON,
    ORDER_KEYS,
    Fleet,
    Host,
    as_document,
    key,
    keys,
    re_signed,
    release,
    timestamp_for,
    with_parts,
)

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
