"""Keys come, go and are stolen; hosts follow, and forget exactly what they must."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.errors import RefusedError, TrustError
from p2pdeploy.limits import SERVICES_PER_HOST_MAX
from p2pdeploy.trust.releases.collecting import join, missing_signatures
from p2pdeploy.trust.releases.documents import parse_document, to_document
from p2pdeploy.trust.releases.keys import OnlineKeys
from p2pdeploy.trust.releases.library import Targets
from p2pdeploy.trust.releases.limits import VERSION_MAX
from p2pdeploy.trust.releases.online import sign_timestamp
from p2pdeploy.trust.releases.proposals import (
    propose_recovery,
    propose_release,
    propose_renewal,
    propose_root,
    propose_targets,
    services_of,
    sign,
)
from p2pdeploy.trust.releases.refusals import Attack
from p2pdeploy.trust.releases.repository import accept_release, accept_root, accept_targets
from p2pdeploy.trust.releases.seen import Seen, SeenRole
from p2pdeploy.trust.releases.verify import first_seen, verify_order_keys
from tests.p2pdeploy.trust.release_fleet import (
    NOON,
    ORDER_KEYS,
    Fleet,
    Host,
    key,
    keys,
    re_signed,
    release,
    signed,
    with_parts,
)

FRESH = OnlineKeys(snapshot=key(220), timestamp=key(221))


def fast_forwarded(fleet: Fleet) -> bytes:
    """A stolen timestamp key signs the highest version that a host takes."""
    root, repository = fleet.repository.root, fleet.repository
    before = sign_timestamp(root, None, repository.snapshot, fleet.online.timestamp, now=NOON)
    data = before.replace(b'"version":1}}', b'"version":%d}}' % (VERSION_MAX - 2))
    assert data != before
    forged = sign_timestamp(root, data, repository.snapshot, fleet.online.timestamp, now=NOON)
    return with_parts(fleet.bundle(), timestamp=forged)


def test_fast_forward_locks_out_until_the_root_rotates_the_key(fleet: Fleet):
    host = Host(fleet)
    host.verify(fast_forwarded(fleet), "1.0")
    fleet.publish(release("web", "2.0"))
    host.assert_refuses(Attack.ROLLBACK, fleet.bundle(), "2.0", where="timestamp")

    fleet.rotate_online(FRESH)

    host.verify(fleet.bundle(), "2.0")


def test_rollback_after_a_rotation_by_a_thief_of_the_new_online_keys(fleet: Fleet):
    """TUF would forget all versions here; ours remembers those whose own keys stayed."""
    host, old = Host(fleet), fleet.repository.services["web"]
    fleet.publish(release("web", "2.0"))
    host.verify(fleet.bundle(), "2.0")
    fleet.rotate_online(FRESH)

    host.assert_refuses(Attack.ROLLBACK, re_signed(fleet, {"svc/web": old}), "1.0", where="svc/web")


def test_a_key_that_only_came_is_no_reason_to_forget():
    seen = Seen(root=b"", roles={"svc/web": SeenRole(7, ("a", "b"))})

    assert seen.version_of("svc/web", ("a", "b", "c")) == 7
    assert seen.version_of("svc/web", ("b", "c")) == 0
    assert seen.version_of("svc/other", ("a",)) == 0


def test_a_stolen_publisher_key_is_replaced_and_its_service_begins_again(fleet: Fleet):
    host = Host(fleet)
    high = propose_renewal(fleet.repository.services["web"], "web", now=NOON)
    payload = high.payload.replace(b'"version":2}', b'"version":%d}' % (VERSION_MAX - 2))
    stolen = signed(msgspec.structs.replace(high, payload=payload), fleet.web)
    document = to_document(stolen.payload, Targets, stolen.signatures, where="svc/web")
    fleet.repository = msgspec.structs.replace(
        fleet.repository, services={**fleet.repository.services, "web": document}
    )
    last = signed(propose_renewal(document, "web", now=NOON), fleet.web)
    fleet.repository = accept_release(fleet.repository, last, fleet.online, now=NOON)
    host.verify(fleet.bundle(), "1.0")
    with pytest.raises(TrustError) as caught:
        fleet.publish(release("web", "2.0"))
    assert caught.value.code == Attack.FAST_FORWARD.value

    after = key(31)
    renewed = signed(propose_recovery("web", [release("web", "1.0")], now=NOON), after)
    fleet.change_publishers("web", keys(1, after), renewed)

    host.verify(fleet.bundle(), "1.0")
    assert host.seen.roles["svc/web"].version == 1
    fleet.publish(release("web", "2.0"), after)
    host.verify(fleet.bundle(), "2.0")


def test_a_service_does_not_begin_again_while_its_keys_stay(fleet: Fleet):
    fleet.publish(release("web", "2.0"))
    again = signed(propose_recovery("web", [release("web", "1.0")], now=NOON), fleet.web)

    with pytest.raises(RefusedError) as caught:
        fleet.change_publishers("web", keys(1, fleet.web, key(31)), again)
    assert caught.value.code == "stale-proposal"


def test_a_publisher_that_left_signs_nothing_more(fleet: Fleet):
    after = key(31)
    stale = propose_release(
        fleet.repository.services["web"], release("web", "6.6"), keep=(), now=NOON
    )
    renewal = propose_renewal(fleet.repository.services["web"], "web", now=NOON)
    with pytest.raises(RefusedError) as caught:
        fleet.change_publishers("web", keys(1, after))
    assert caught.value.code == "needs-signing"

    fleet.change_publishers("web", keys(1, after), signed(renewal, after))

    Host(fleet).verify(fleet.bundle(), "1.0")
    with pytest.raises(TrustError):
        join(fleet.repository, stale, *sign(stale, fleet.web))


def test_renewals_are_joined_under_the_targets_that_they_come_with(fleet: Fleet):
    services = {**services_of(fleet.repository.targets), "web": keys(1, key(31))}
    targets = propose_targets(
        fleet.repository.targets, order_keys=ORDER_KEYS, services=services, now=NOON
    )
    renewal = propose_renewal(fleet.repository.services["web"], "web", now=NOON)
    assert missing_signatures(fleet.repository, renewal, under=targets) == 1

    renewal = join(fleet.repository, renewal, *sign(renewal, key(31)), under=targets)
    targets = join(fleet.repository, targets, *sign(targets, fleet.targets))

    assert missing_signatures(fleet.repository, renewal, under=targets) == 0
    fleet.repository = accept_targets(
        fleet.repository, targets, fleet.online, now=NOON, services=[renewal]
    )
    Host(fleet).verify(fleet.bundle(), "1.0")


def test_a_service_that_is_taken_out_is_unknown(fleet: Fleet):
    host, before = Host(fleet), fleet.bundle("bank")
    targets = propose_targets(
        fleet.repository.targets,
        order_keys=ORDER_KEYS,
        services={"web": keys(1, fleet.web)},
        now=NOON,
    )
    fleet.repository = accept_targets(
        fleet.repository, signed(targets, fleet.targets), fleet.online, now=NOON
    )
    host.verify(fleet.bundle(), "1.0")

    left = with_parts(fleet.bundle(), service=fleet_document(before))
    host.assert_refuses(Attack.UNKNOWN_RELEASE, left, "1.0", service="bank", where="svc/bank")


def fleet_document(bundle: bytes) -> bytes:
    return msgspec.msgpack.decode(bundle)["service"]


def test_root_and_targets_keys_change_by_old_and_new_owners(fleet: Fleet):
    host = Host(fleet)
    new_root, new_targets = (key(4), key(5), key(6)), key(11)
    top = msgspec.structs.replace(
        fleet.top_keys(), root=keys(2, *new_root), targets=keys(1, new_targets)
    )
    proposal = propose_root(fleet.repository.roots[-1], top, now=NOON)
    for owner in (*fleet.root[:2], new_root[0]):
        proposal = join(fleet.repository, proposal, *sign(proposal, owner))
    assert missing_signatures(fleet.repository, proposal) == 1
    with pytest.raises(TrustError):
        accept_root(fleet.repository, proposal, fleet.online, now=NOON)
    proposal = join(fleet.repository, proposal, *sign(proposal, new_root[2]))
    with pytest.raises(RefusedError) as caught:
        accept_root(fleet.repository, proposal, fleet.online, now=NOON)
    assert caught.value.code == "needs-signing"

    targets = propose_targets(
        fleet.repository.targets,
        order_keys=ORDER_KEYS,
        services=services_of(fleet.repository.targets),
        now=NOON,
    )
    targets = join(fleet.repository, targets, *sign(targets, new_targets), under=proposal)
    fleet.repository = accept_root(
        fleet.repository, proposal, fleet.online, now=NOON, targets=targets
    )

    host.verify(fleet.bundle(), "1.0")
    assert parse_document(host.seen.root, type(fleet.repository.root), where="").signed.version == 2


def test_a_host_that_slept_follows_many_rotations(fleet: Fleet):
    host = Host(fleet)
    for number in range(20):
        fleet.rotate_online(OnlineKeys(snapshot=key(500 + number), timestamp=key(600 + number)))

    host.verify(fleet.bundle(), "1.0")

    assert host.seen.root == fleet.repository.roots[-1]


def test_order_keys_come_without_a_service(fleet: Fleet):
    verified = verify_order_keys(fleet.bundle(""), first_seen(fleet.first_root), now=NOON)

    assert verified.order_keys == ORDER_KEYS
    assert set(verified.seen.roles) == {"timestamp", "snapshot", "targets"}


def test_the_memory_of_a_host_is_bounded_and_nothing_is_dropped_for_something_new():
    names = [f"svc/s{number}" for number in range(SERVICES_PER_HOST_MAX)]
    full = Seen(root=b"").with_roles(
        b"",
        {name: SeenRole(1, ()) for name in (*names, "timestamp", "snapshot", "targets")},
        NOON,
    )

    with pytest.raises(TrustError):
        full.with_roles(b"", {"svc/one-more": SeenRole(1, ())}, NOON)
    assert full.with_roles(b"", {"svc/s0": SeenRole(2, ())}, NOON).roles["svc/s0"].version == 2
