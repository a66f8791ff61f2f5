"""Proposals, signatures, thresholds: how a release becomes one that hosts accept."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.errors import ConfigError, NotFoundError, ProtocolError, RefusedError, TrustError
from p2pdeploy.trust.releases.collecting import join, missing_signatures
from p2pdeploy.trust.releases.documents import parse_document
from p2pdeploy.trust.releases.keys import OnlineKeys
from p2pdeploy.trust.releases.library import Snapshot, Targets
from p2pdeploy.trust.releases.limits import RELEASES_LIVE_MAX
from p2pdeploy.trust.releases.proposals import Proposal, propose_release, sign
from p2pdeploy.trust.releases.refusals import Attack
from p2pdeploy.trust.releases.release_target import live_releases
from p2pdeploy.trust.releases.repository import accept_release, bundle_for, is_refresh_due, refresh
from p2pdeploy.trust.role_keys import RoleKeys
from tests.p2pdeploy.trust.release_fleet import DAY, HOUR, NOON, Fleet, Host, key, release, signed


@pytest.fixture
def fleet() -> Fleet:
    """It has published nothing."""
    return Fleet()


def live_versions(fleet: Fleet, service: str = "web") -> set[str]:
    document = parse_document(fleet.repository.services[service], Targets, where=service)
    return set(live_releases(document.signed, service))


def snapshot_version(fleet: Fleet) -> int:
    return parse_document(fleet.repository.snapshot, Snapshot, where="snapshot").signed.version


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
