"""A host refuses documents that were right once: rolled back, frozen, mixed.

The attacker stands where that of test_release_attacks.py does.
"""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from p2pdeploy.trust.releases.bundle import ReleaseBundle
from p2pdeploy.trust.releases.documents import parse_document
from p2pdeploy.trust.releases.library import MetaFile, Snapshot
from p2pdeploy.trust.releases.online import sign_snapshot
from p2pdeploy.trust.releases.proposals import propose_release, propose_root, propose_targets
from p2pdeploy.trust.releases.refusals import Attack
from tests.p2pdeploy.trust.release_fleet import (
    DAY,
    HOUR,
    NOON,
    ORDER_KEYS,
    Fleet,
    Host,
    as_document,
    forged_document,
    key,
    keys,
    re_signed,
    release,
    timestamp_for,
    with_parts,
)


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
