"""Proposals, signatures, thresholds: how a release becomes one that hosts accept."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.errors import ConfigError, NotFoundError, ProtocolError, RefusedError, TrustError
from p2pdeploy.trust.releases.collecting import join, missing_signatures
from p2pdeploy.trust.releases.documents import parse_document, parse_payload, payload_of
from p2pdeploy.trust.releases.keys import OnlineKeys
from p2pdeploy.trust.releases.library import Delegations, Snapshot, Targets
from p2pdeploy.trust.releases.limits import RELEASES_LIVE_MAX
from p2pdeploy.trust.releases.proposals import (
    Proposal,
    propose_recovery,
    propose_release,
    propose_renewal,
    propose_root,
    propose_targets,
    sign,
)
from p2pdeploy.trust.releases.refusals import Attack
from p2pdeploy.trust.releases.release_target import ReleaseTarget, live_releases
from p2pdeploy.trust.releases.repository import (
    accept_release,
    bundle_for,
    is_refresh_due,
    refresh,
)
from p2pdeploy.trust.releases.review import Review, review
from p2pdeploy.trust.role_keys import RoleKeys
from tests.p2pdeploy.trust.release_fleet import (
    DAY,
    HOUR,
    NOON,
    ORDER_KEYS,
    Fleet,
    Host,
    key,
    keys,
    release,
    signed,
)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def live_versions(fleet: Fleet, service: str = "web") -> set[str]:
    document = parse_document(fleet.repository.services[service], Targets, where=service)
    return set(live_releases(document.signed, service))


def snapshot_version(fleet: Fleet) -> int:
    return parse_document(fleet.repository.snapshot, Snapshot, where="snapshot").signed.version


# -- proposals -------------------------------------------------------------------------------


def test_the_same_input_gives_the_same_payload(fleet: Fleet):
    fleet.publish(release("web", "1.0"))
    current, item = fleet.repository.services["web"], release("web", "2.0")

    first = propose_release(current, item, keep={"a", "b"}, now=NOON)

    assert first == propose_release(current, item, keep=["b", "a"], now=NOON)
    assert first == Proposal.from_bytes(first.to_bytes())


def test_a_proposal_of_foreign_bytes_is_refused():
    for data in (b"", b"\x80", b"\xff" * 100, bytes(2**20)):
        with pytest.raises(ProtocolError):
            Proposal.from_bytes(data)


def test_a_version_is_immutable(fleet: Fleet):
    fleet.publish(release("web", "1.0"))
    current = fleet.repository.services["web"]

    with pytest.raises(RefusedError) as caught:
        propose_release(current, release("web", "1.0", b"other"), keep=(), now=NOON)
    assert caught.value.code == "version-exists"
    with pytest.raises(RefusedError) as caught:
        propose_release(current, release("web", "1.0"), keep=(), now=NOON)
    assert caught.value.code == "already-published"


def test_the_oldest_that_nobody_uses_makes_room(fleet: Fleet):
    for number in range(RELEASES_LIVE_MAX):
        fleet.publish(release("web", f"1.{number}"))
    assert len(live_versions(fleet)) == RELEASES_LIVE_MAX

    proposal = propose_release(
        fleet.repository.services["web"], release("web", "2.0"), keep={"1.0", "1.1"}, now=NOON
    )
    fleet.repository = accept_release(
        fleet.repository, signed(proposal, fleet.web), fleet.online, now=NOON
    )

    expected = {f"1.{number}" for number in range(RELEASES_LIVE_MAX)} - {"1.2"} | {"2.0"}
    assert live_versions(fleet) == expected


def test_nothing_makes_room_when_every_release_is_in_use(fleet: Fleet):
    for number in range(RELEASES_LIVE_MAX):
        fleet.publish(release("web", f"1.{number}"))

    with pytest.raises(RefusedError) as caught:
        propose_release(
            fleet.repository.services["web"],
            release("web", "2.0"),
            keep=live_versions(fleet),
            now=NOON,
        )
    assert caught.value.code == "too-many-live"


# -- signatures ------------------------------------------------------------------------------


def test_two_of_three_publishers_release_together(fleet: Fleet):
    proposal = propose_release(None, release("bank", "1.0"), keep=(), now=NOON)
    assert missing_signatures(fleet.repository, proposal) == 2

    proposal = join(fleet.repository, proposal, *sign(proposal, fleet.bank[2]))
    proposal = join(fleet.repository, proposal, *sign(proposal, fleet.bank[2]))
    assert missing_signatures(fleet.repository, proposal) == 1
    with pytest.raises(TrustError) as caught:
        accept_release(fleet.repository, proposal, fleet.online, now=NOON)
    assert caught.value.code == Attack.BELOW_THRESHOLD.value

    proposal = join(fleet.repository, proposal, *sign(proposal, fleet.bank[0]))
    assert missing_signatures(fleet.repository, proposal) == 0
    fleet.repository = accept_release(fleet.repository, proposal, fleet.online, now=NOON)
    Host(fleet).verify(fleet.bundle("bank"), "1.0", "bank")


def test_a_strangers_signature_is_not_kept(fleet: Fleet):
    proposal = propose_release(None, release("bank", "1.0"), keep=(), now=NOON)
    ours, signature = sign(proposal, fleet.bank[0])
    theirs, other = sign(proposal, fleet.web)

    for key_id, value in ((theirs, other), (ours, other), (theirs, signature), ("", b"")):
        with pytest.raises(TrustError) as caught:
            join(fleet.repository, proposal, key_id, value)
        assert caught.value.code == Attack.WRONG_KEY.value


def test_signatures_of_strangers_are_not_published(fleet: Fleet):
    proposal = propose_release(None, release("web", "1.0"), keep=(), now=NOON)
    proposal = signed(proposal, fleet.web, *(key(1_000 + number) for number in range(50)))

    after = accept_release(fleet.repository, proposal, fleet.online, now=NOON)

    assert len(parse_document(after.services["web"], Targets, where="web").signatures) == 1


def test_of_two_proposals_for_one_moment_the_second_is_stale(fleet: Fleet):
    first, second = (
        signed(propose_release(None, release("web", version), keep=(), now=NOON), fleet.web)
        for version in ("1.0", "2.0")
    )
    fleet.repository = accept_release(fleet.repository, first, fleet.online, now=NOON)

    with pytest.raises(RefusedError) as caught:
        accept_release(fleet.repository, second, fleet.online, now=NOON)
    assert caught.value.code == "stale-proposal"


def test_a_service_without_publishers_has_no_releases(fleet: Fleet):
    proposal = signed(propose_release(None, release("other", "1"), keep=(), now=NOON), fleet.web)

    with pytest.raises(TrustError) as caught:
        accept_release(fleet.repository, proposal, fleet.online, now=NOON)
    assert caught.value.code == Attack.UNKNOWN_RELEASE.value
    with pytest.raises(NotFoundError):
        bundle_for(fleet.repository, "other", root_version=0)


def test_a_document_that_names_another_services_release_is_not_published(fleet: Fleet):
    bank = propose_release(None, release("bank", "6.6"), keep=(), now=NOON)
    disguised = signed(msgspec.structs.replace(bank, role="svc/web"), fleet.web)

    with pytest.raises(TrustError) as caught:
        accept_release(fleet.repository, disguised, fleet.online, now=NOON)
    assert caught.value.code == Attack.MALFORMED.value


def test_online_keys_that_the_root_does_not_name_sign_nothing(fleet: Fleet):
    proposal = signed(propose_release(None, release("web", "1.0"), keep=(), now=NOON), fleet.web)
    wrong = OnlineKeys(snapshot=fleet.online.snapshot, timestamp=key(99))

    with pytest.raises(ConfigError):
        accept_release(fleet.repository, proposal, wrong, now=NOON)
    with pytest.raises(ConfigError):
        refresh(fleet.repository, wrong, now=NOON)


@pytest.mark.parametrize(
    ("threshold", "public_keys"),
    [(0, (bytes(32),)), (2, (bytes(32),)), (1, ()), (2, (bytes(32),) * 2), (1, (b"short",))],
)
def test_keys_that_could_not_work_are_refused(threshold: int, public_keys: tuple[bytes, ...]):
    with pytest.raises(ConfigError):
        RoleKeys(threshold=threshold, public_keys=public_keys)


def test_the_control_plane_signs_again_at_half_life(fleet: Fleet):
    fleet.publish(release("web", "1.0"))
    assert not is_refresh_due(fleet.repository, now=NOON + 11 * HOUR)
    assert is_refresh_due(fleet.repository, now=NOON + 12 * HOUR)

    later, before = NOON + 12 * HOUR, snapshot_version(fleet)
    fleet.repository = refresh(fleet.repository, fleet.online, now=later)
    assert not is_refresh_due(fleet.repository, now=later)
    assert snapshot_version(fleet) == before, "it has six days left"

    fleet.repository = refresh(fleet.repository, fleet.online, now=NOON + 4 * DAY)
    assert snapshot_version(fleet) == before + 1


# -- what a publisher checks before signing --------------------------------------------------


def asked_to_sign(
    fleet: Fleet, proposal: Proposal, expected: ReleaseTarget | None = None
) -> Review:
    return review(
        proposal,
        service="web",
        expected=expected,
        current=fleet.repository.services.get("web"),
        publishers=keys(1, fleet.web),
        now=NOON,
    )


def test_review_says_what_signing_would_do(fleet: Fleet):
    first = propose_release(None, release("web", "1.0"), keep=(), now=NOON)
    said = asked_to_sign(fleet, first, release("web", "1.0"))
    assert said.added == (release("web", "1.0"),)

    fleet.publish(release("web", "1.0"))
    renewal = propose_renewal(fleet.repository.services["web"], "web", now=NOON)
    said = asked_to_sign(fleet, renewal)
    assert (said.added, said.dropped, said.live_count) == ((), (), 1)


def test_a_control_plane_that_slips_another_release_in(fleet: Fleet):
    fleet.publish(release("web", "1.0"))
    current, mine = fleet.repository.services["web"], release("web", "2.0")
    swapped = propose_release(current, release("web", "2.0", b"evil"), keep=(), now=NOON)

    for expected in (mine, None):
        with pytest.raises(TrustError, match="would add"):
            asked_to_sign(fleet, swapped, expected)


def test_a_control_plane_that_shows_a_forged_past(fleet: Fleet):
    """The other release is hidden in a document that nobody of ours signed."""
    evil = propose_release(None, release("web", "6.6"), keep=(), now=NOON)
    forged = accept_forged(fleet, evil)
    proposal = propose_release(forged, release("web", "2.0"), keep=(), now=NOON)

    with pytest.raises(TrustError, match="not signed by us"):
        review(
            proposal,
            service="web",
            expected=release("web", "2.0"),
            current=forged,
            publishers=keys(1, fleet.web),
            now=NOON,
        )


def accept_forged(fleet: Fleet, proposal: Proposal) -> bytes:
    """A control plane whose publishers are its own."""

    class Forger(Fleet):
        web = key(666)

    forger = Forger()
    accepted = accept_release(
        forger.repository, signed(proposal, forger.web), forger.online, now=NOON
    )
    return accepted.services["web"]


def test_a_control_plane_that_changes_what_an_old_version_is(fleet: Fleet):
    fleet.publish(release("web", "1.0"))
    payload = propose_renewal(fleet.repository.services["web"], "web", now=NOON).payload
    old, new = release("web", "1.0"), release("web", "1.0", b"evil")
    payload = payload.replace(old.manifest_digest.encode(), new.manifest_digest.encode())

    with pytest.raises(TrustError) as caught:
        asked_to_sign(fleet, Proposal(role="svc/web", payload=payload))
    assert caught.value.code == Attack.MIX_AND_MATCH.value


def test_a_control_plane_that_wants_an_eternal_signature(fleet: Fleet):
    mine = release("web", "1.0")
    eternal = propose_release(None, mine, keep=(), now=NOON + 10 * DAY)

    with pytest.raises(TrustError) as caught:
        asked_to_sign(fleet, eternal, mine)
    assert caught.value.code == Attack.FREEZE.value


def test_a_control_plane_that_wants_a_version_nobody_can_follow(fleet: Fleet):
    mine = release("web", "1.0")
    payload = propose_release(None, mine, keep=(), now=NOON).payload
    payload = payload.replace(b'"version":1', b'"version":9007199254740990')

    with pytest.raises(TrustError) as caught:
        asked_to_sign(fleet, Proposal(role="svc/web", payload=payload), mine)
    assert caught.value.code == Attack.FAST_FORWARD.value


def test_a_control_plane_that_has_another_role_signed(fleet: Fleet):
    root = propose_root(fleet.first_root, fleet.top_keys(), now=NOON)
    targets = propose_targets(None, order_keys=ORDER_KEYS, services={}, now=NOON)
    in_disguise = msgspec.structs.replace(targets, role="svc/web")
    bank = propose_recovery("bank", [release("bank", "1.0")], now=NOON)

    for proposal in (root, targets, in_disguise, bank):
        with pytest.raises(TrustError):
            asked_to_sign(fleet, proposal)
    mine = release("web", "1.0")
    elsewhere = propose_release(None, mine, keep=(), now=NOON)
    with pytest.raises(TrustError, match="the proposal is for svc/bank"):
        asked_to_sign(fleet, msgspec.structs.replace(elsewhere, role="svc/bank"), mine)


def test_a_control_plane_that_has_more_signed_than_releases(fleet: Fleet):
    """A delegation inside a service's document could hand the service to somebody else."""
    mine = release("web", "1.0")
    signed_part = parse_payload(
        propose_release(None, mine, keep=(), now=NOON).payload, Targets, where="svc/web"
    )
    signed_part.unrecognized_fields["note"] = "more"
    noted = Proposal(role="svc/web", payload=payload_of(signed_part))
    del signed_part.unrecognized_fields["note"]
    signed_part.delegations = Delegations({}, {})
    delegating = Proposal(role="svc/web", payload=payload_of(signed_part))

    for proposal in (noted, delegating):
        with pytest.raises(TrustError, match="says more"):
            asked_to_sign(fleet, proposal, mine)
