"""What a publisher checks before signing: a control plane gets no signature by a lie."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.errors import TrustError
from p2pdeploy.trust.releases.documents import parse_payload, payload_of
from p2pdeploy.trust.releases.library import Delegations, Targets
from p2pdeploy.trust.releases.proposals import (
    Proposal,
    propose_recovery,
    propose_release,
    propose_renewal,
    propose_root,
    propose_targets,
)
from p2pdeploy.trust.releases.refusals import Attack
from p2pdeploy.trust.releases.release_target import ReleaseTarget
from p2pdeploy.trust.releases.repository import accept_release
from p2pdeploy.trust.releases.review import Review, review
from tests.p2pdeploy.trust.release_fleet import (
    DAY,
    NOON,
    ORDER_KEYS,
    Fleet,
    key,
    keys,
    release,
    signed,
)


@pytest.fixture
def fleet() -> Fleet:
    """It has published nothing."""
    return Fleet()


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
