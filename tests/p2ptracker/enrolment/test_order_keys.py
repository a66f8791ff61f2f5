"""Who signs orders: hosts judge the signed targets document, whatever the control plane says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable

import msgspec
import pytest

from p2pdaemon.follow_orders import OrderFollower
from p2pdaemon.join import join
from p2pdaemon.judge_bundle import SEEN_FILE
from p2pdaemon.renew import order_of, renew
from p2pdaemon.verify_release import ReleaseJudge
from p2pdeploy.errors import TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.keys import RotationRequest
from p2pdeploy.testing.orders import a_go
from p2pdeploy.trust.envelope import open_envelope, seal
from p2pdeploy.trust.host_identity import load_identity, load_known_orders
from p2pdeploy.trust.keyring import FleetVerifier
from p2pdeploy.trust.releases.files import proposal_in, sign_file
from p2pdeploy.trust.releases.online import sign_snapshot, sign_timestamp
from p2pdeploy.trust.releases.proposals import propose_targets
from p2pdeploy.trust.releases.reading import order_keys_of
from p2pdeploy.trust.releases.repository import Repository, accept_targets, bundle_for
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.keys.rotation import Waits
from tests.p2ptracker.enrolment.joined import joined

H1 = HostName("h01")
GO = a_go()


def targets_key(tracker) -> SigningKey:
    key = tracker.plane.trust.offline_key("targets")
    assert key is not None
    return key


def with_go_keys(tracker, signer: SigningKey, *go: SigningKey) -> bytes:
    """A targets document, signed by *signer*, after which *go* sign GOs."""
    current = tracker.plane.repository.repository.targets
    keys = RoleKeys(threshold=1, public_keys=tuple(key.public_key for key in go))
    proposal = propose_targets(
        current,
        order_keys={**order_keys_of(current), "go": keys},
        services={},
        now=dt.datetime.now(dt.UTC),
    )
    return sign_file(proposal, signer)


def forced(tracker, targets: bytes) -> Repository:
    """What a thief of all that the control plane holds online can publish."""
    plane, now = tracker.plane, dt.datetime.now(dt.UTC)
    before, online = plane.repository.repository, plane.repository.keys.online
    snapshot = sign_snapshot(
        before.root, before.snapshot, {"targets": targets}, online.snapshot, now=now
    )
    timestamp = sign_timestamp(before.root, before.timestamp, snapshot, online.timestamp, now=now)
    return msgspec.structs.replace(before, targets=targets, snapshot=snapshot, timestamp=timestamp)


def accepted(tracker, targets: bytes):
    """The change that publishes *targets* as it must be."""

    def work(before: Repository, now: dt.datetime) -> Repository:
        online = tracker.plane.repository.keys.online
        return accept_targets(before, proposal_in(targets, "targets"), online, now=now)

    return work


async def refusal(asked: Awaitable[object]) -> str:
    """The code with which a host refuses what it asked for."""
    with pytest.raises(TrustError) as refused:
        await asked
    return refused.value.code


class Gossip:
    """Counts what the follower asks of gossip."""

    def __init__(self) -> None:
        self.dropped: list[bool] = []

    def drop_unverified(self, *, attestations: bool) -> int:
        self.dropped.append(attestations)
        return 0


class Following:
    """A host that follows the keys, with bundles from wherever *tracker*'s control plane says."""

    def __init__(self, tracker, config) -> None:
        self._tracker = tracker
        identity = load_identity(config.identity_dir, config.name)
        self.verifier = FleetVerifier(identity.known_orders.orders)
        self.gossip, self.renewals = Gossip(), 0
        judge = ReleaseJudge(self, config.state_dir, identity.bundle.release_root)
        self.follower = OrderFollower(
            identity, config.identity_dir, judge, self.verifier, self.gossip, self.renew
        )

    def renew(self) -> None:
        self.renewals += 1

    async def fetch_bundle(self, service: str, root_version: int) -> bytes:
        return bundle_for(
            self._tracker.plane.repository.repository, service, root_version=root_version
        )

    async def ask(self) -> None:
        await self.follower.learn(self._tracker.plane.repository.targets_version)

    def believes(self, key: SigningKey) -> bool:
        try:
            return open_envelope(seal(GO, key), self.verifier) == GO
        except TrustError:
            return False


@pytest.mark.processes
async def test_a_new_key_is_learnt_and_an_old_one_dropped_from_the_signed_document(
    tracker, config_of, token_for
) -> None:
    config = await joined(tracker, config_of, token_for, H1)
    keys, new = tracker.plane.trust.keys, SigningKey.generate(role="go")
    host = Following(tracker, config)
    both = with_go_keys(tracker, targets_key(tracker), keys["go"], new)
    await tracker.plane.repository.change(accepted(tracker, both))
    await host.ask()
    assert host.believes(keys["go"])
    assert host.believes(new)
    assert host.gossip.dropped == [], "nothing that was sealed is refused yet"
    alone = with_go_keys(tracker, targets_key(tracker), new)
    await tracker.plane.repository.change(accepted(tracker, alone))
    await host.ask()
    assert not host.believes(keys["go"])
    assert host.believes(new)
    assert host.gossip.dropped == [False], "orders alone: credentials are sealed as before"
    assert load_known_orders(config.identity_dir).targets_version == 3, "a restart knows it"
    assert host.renewals == 0


@pytest.mark.processes
async def test_a_stolen_control_plane_cannot_name_other_order_keys(
    tracker, config_of, token_for
) -> None:
    """Every key it holds online, and not the targets key."""
    config = await joined(tracker, config_of, token_for, H1)
    before = load_known_orders(config.identity_dir)
    host = Following(tracker, config)
    thief = SigningKey.generate(role="go")
    evil = with_go_keys(tracker, SigningKey.generate(role="targets"), thief)
    tracker.plane.repository._show(forced(tracker, evil))
    assert await refusal(host.ask()) == "release-wrong-key"
    assert not host.believes(thief)
    assert await refusal(renew(order_of(config))) == "release-wrong-key"
    assert load_known_orders(config.identity_dir) == before


async def test_an_older_document_does_not_bring_a_dropped_key_back(
    tracker, config_of, token_for
) -> None:
    config = await joined(tracker, config_of, token_for, H1)
    new = SigningKey.generate(role="go")
    replayed = tracker.plane.repository.repository
    await tracker.plane.repository.change(
        accepted(tracker, with_go_keys(tracker, targets_key(tracker), new))
    )
    await renew(order_of(config))
    known = load_known_orders(config.identity_dir)
    assert known.orders.roles["go"].public_keys == (new.public_key,)
    tracker.plane.repository._show(replayed)
    assert await refusal(renew(order_of(config))) == "release-rollback"
    assert load_known_orders(config.identity_dir) == known


async def test_who_joins_with_keys_that_no_targets_key_signed_is_no_host(
    tracker, config_of, token_for
) -> None:
    evil = with_go_keys(tracker, SigningKey.generate(role="targets"), SigningKey.generate())
    tracker.plane.repository._show(forced(tracker, evil))
    config = config_of(tracker.plane.inventory.get(H1))
    with pytest.raises(TrustError, match="no signature"):
        await join(config, await token_for(tracker, H1))
    assert not config.identity_dir.exists()
    assert not (config.state_dir / SEEN_FILE).exists()


@pytest.mark.processes
async def test_a_host_whose_credential_was_rotated_away_renews_at_once(
    tracker, config_of, token_for
) -> None:
    """It was away while every other host got another one."""
    config = await joined(tracker, config_of, token_for, H1)
    host, rotator = Following(tracker, config), tracker.plane.keys
    rotator.waits = Waits(step_s=0.0, credentials_s=0.0)
    await rotator.rotate("enrol", RotationRequest())
    await rotator._step("enrol")
    await rotator._step("enrol")
    await host.ask()
    assert host.gossip.dropped == [True], "what others said under older credentials as well"
    assert host.renewals == 1
    before = load_identity(config.identity_dir, H1).key.credential
    await renew(order_of(config))
    fresh = load_identity(config.identity_dir, H1)
    assert fresh.key.credential != before
    assert open_envelope(fresh.key.credential, host.verifier) == fresh.credential
    host.follower.take_renewed(fresh)
    assert host.renewals == 1
