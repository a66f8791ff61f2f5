"""A joined host's own tasks against a control plane that runs: renewing, and learning."""

from __future__ import annotations

import random

import msgspec
import pytest
import trio

from p2pdaemon.cell_feed import make_gossip
from p2pdaemon.control import open_control_plane
from p2pdaemon.follow_orders import OrderFollower
from p2pdaemon.keep_identity import renewal_process
from p2pdaemon.learn_trust import TrustLearner
from p2pdaemon.refused import Refused
from p2pdaemon.renew import order_of, renew
from p2pdaemon.verify_release import ReleaseJudge
from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.gossip import Member
from p2pdeploy.trust.host_identity import load_identity, load_revocations, load_validity
from p2pdeploy.trust.keyring import FleetVerifier
from p2pdeploy.trust.tls import client_context, is_control_plane
from p2ptracker.authority.folder import TrustFolder
from tests.p2ptracker.enrolment.joined import joined

H1, H2 = HostName("h01"), HostName("h02")


async def test_renewing_replaces_keys_and_certificates(tracker, config_of, token_for) -> None:
    config = await joined(tracker, config_of, token_for, H1)
    before = {path.name: path.read_bytes() for path in config.identity_dir.iterdir()}
    expires_at = await renew(order_of(config))
    after = {path.name: path.read_bytes() for path in config.identity_dir.iterdir()}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"leaf.pem", "swarm.pem", "validity"}
    validity = load_validity(config.identity_dir)
    assert validity is not None
    assert validity.expires_at == expires_at


async def test_a_stolen_control_plane_cannot_replace_the_root_of_releases(
    tracker, config_of, token_for, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = await joined(tracker, config_of, token_for, H1)
    before = load_identity(config.identity_dir, H1).bundle
    evil = msgspec.structs.replace(before, release_root=b"the thief's")
    monkeypatch.setattr(TrustFolder, "bundle", lambda _: evil)
    await renew(order_of(config))
    assert load_identity(config.identity_dir, H1).bundle == before


@pytest.mark.processes
async def test_the_daemons_child_process_renews(tracker, config_of, token_for) -> None:
    config = await joined(tracker, config_of, token_for, H1)
    before = (config.identity_dir / "leaf.pem").read_bytes()
    await renewal_process(config)()
    assert (config.identity_dir / "leaf.pem").read_bytes() != before
    await tracker.plane.revoker.revoke_host(H1, "stolen")
    with pytest.raises(UnavailableError, match="revoked"):
        await renewal_process(config)()


async def test_a_host_learns_of_a_revocation_and_remembers_it(
    tracker, config_of, token_for
) -> None:
    """Gossip is silent here: asking once a minute is enough."""
    config = await joined(tracker, config_of, token_for, H1)
    await joined(tracker, config_of, token_for, H2)
    gone = tracker.plane.inventory.get(H2)
    told: list[frozenset[str]] = []
    async with Learning(config, told) as first:
        with trio.fail_after(10):
            while not first.refused.floors:
                await trio.testing.wait_all_tasks_blocked(0.05)
        first.shell.learn_seeds((a_member(gone),))
        assert H2 in {member.name for member in first.shell.members()}
        assert not first.refused.hosts

    await tracker.plane.revoker.revoke_host(H2, "stolen")
    async with Learning(config, told) as second:
        with trio.fail_after(10):
            while not second.refused.hosts:
                await trio.testing.wait_all_tasks_blocked(0.05)
        second.shell.learn_seeds((a_member(gone),))
        assert second.refused.hosts == {H2: gone.address}
        assert H2 not in {member.name for member in second.shell.members()}
        assert second.refused.floors[H2] == 3
    assert told[-1] == frozenset({gone.address})

    with trio.fail_after(10):
        while not load_revocations(config.identity_dir):
            await trio.testing.wait_all_tasks_blocked(0.05)
    alone = msgspec.structs.replace(config, api="https://127.0.0.1:1")
    async with Learning(alone, told) as third:
        assert third.refused.hosts == {H2: gone.address}, "cut off, it refuses whom it refused"


def a_member(host) -> Member:
    return Member(
        name=host.name,
        address=host.address,
        gossip_port=host.gossip_port,
        swarm_port=host.swarm_port,
        fault_domain=host.fault_domain,
    )


class Learning:
    """A host's gossip and its learner, as the daemon runs them."""

    def __init__(self, config, told: list[frozenset[str]]) -> None:
        self._config, self._told = config, told

    async def __aenter__(self) -> Learning:
        config = self._config
        identity = load_identity(config.identity_dir, config.name)
        self.refused = Refused(identity.credential.fleet, config.cell)
        verifier = FleetVerifier(identity.known_orders.orders, self.refused.floors)
        self.shell = make_gossip(config, identity.cell_keys, verifier)
        context = client_context(identity.files, is_control_plane, who="the control plane")
        self._client = open_control_plane(config.api, context=context, address=config.address)
        control = await self._client.__aenter__()
        judge = ReleaseJudge(control, config.state_dir, identity.bundle.release_root)
        self.follower = OrderFollower(
            identity, config.identity_dir, judge, verifier, self.shell, lambda: None
        )
        learner = TrustLearner(
            config.cell,
            config.identity_dir,
            control,
            self.shell,
            self.refused,
            lambda: self._told.append(frozenset(self.refused.hosts.values())),
            self.follower.learn,
            random.Random(1),
        )
        self.shell.subscribe(learner.hear)
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        await self._nursery.start(self.shell.run)
        learner.restore()
        self._nursery.start_soon(learner.learn_trust)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._nursery.cancel_scope.cancel()
        await self._manager.__aexit__(*error)
        await self._client.__aexit__(*error)
