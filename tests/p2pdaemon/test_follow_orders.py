"""A rotation reaches all of a host: its replica, what waits for the core, and the core."""

from __future__ import annotations

import msgspec
import pytest
from trio.testing import wait_all_tasks_blocked

from p2pdaemon.cell_feed import CellFeed, make_gossip
from p2pdaemon.follow_orders import OrderFollower
from p2pdeploy.errors import TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.testing.activation_bench import Bench
from p2pdeploy.testing.fleet_keys import FleetKeys
from p2pdeploy.testing.orders import CELL, a_go, a_plan, a_word, activate, orders_of
from p2pdeploy.trust.bundle import KnownOrders, TrustBundle
from p2pdeploy.trust.cell_keys import first_cell_keys
from p2pdeploy.trust.credential import Credential
from p2pdeploy.trust.envelope import open_envelope, seal
from p2pdeploy.trust.host_identity import HostIdentity
from p2pdeploy.trust.keyring import FleetVerifier
from p2pdeploy.trust.signing import SigningKey
from p2pdeploy.trust.tls import IdentityFiles
from tests.p2pdaemon.conftest import config_of

PLAN = a_plan()
H3 = HostName("h3")


def rotated(keys: FleetKeys, role: str) -> FleetKeys:
    """The fleet after *role* got another key."""
    return FleetKeys(keys.fleet, {**keys.roles, role: SigningKey.generate(role=role)})


def an_identity(keys: FleetKeys, folder) -> HostIdentity:
    """What h3 joined with."""
    keys.seal(a_word(H3, 1, Rank.HEALTHY))  # gives its key a credential
    key = keys.host(H3)
    credential = open_envelope(key.credential, keys.verifier)
    assert isinstance(credential, Credential)
    leaf = folder / "leaf.pem"
    return HostIdentity(
        key=key,
        credential=credential,
        files=IdentityFiles(certificate=leaf, key=leaf, authority=leaf),
        swarm_pem=b"",
        bundle=TrustBundle(fleet=keys.fleet, fleet_ca_pem=b"", swarm_ca_pem=b"", release_root=b""),
        known_orders=KnownOrders(targets_version=1, orders=keys.orders),
        cell_keys=first_cell_keys(CELL, b"g" * 32),
    )


class JudgeStandIn:
    """Finds in the targets document what it is told to."""

    def __init__(self, known: KnownOrders) -> None:
        self.known = known

    async def verify_orders(self, fleet: str, folder) -> KnownOrders:
        return self.known


class Host:
    """One host: its replica, its feed, its core and what follows the keys are real."""

    def __init__(self, keys: FleetKeys, folder) -> None:
        identity = an_identity(keys, folder)
        self.judge = JudgeStandIn(identity.known_orders)
        verifier = FleetVerifier(keys.orders)
        self.gossip = make_gossip(config_of(H3, folder), identity.cell_keys, verifier)
        self.bench, self.renewals = Bench(H3), 0
        self.feed = CellFeed(self.gossip.alive_members, self._send)
        self.gossip.subscribe(self.feed.hear)
        self.follower = OrderFollower(
            identity, folder, self.judge, verifier, self.gossip, self._renew
        )

    async def _send(self, event) -> None:
        self.bench.send(event)

    def _renew(self) -> None:
        self.renewals += 1

    def hear(self, keys: FleetKeys, *messages) -> None:
        for message in messages:
            self.gossip.publish(keys.seal(message))

    async def learn(self, keys: FleetKeys) -> None:
        """The signed targets document names *keys* from now on."""
        version = self.judge.known.targets_version + 1
        self.judge.known = KnownOrders(targets_version=version, orders=keys.orders)
        await self.follower.learn(version)


@pytest.fixture
def before() -> FleetKeys:
    return FleetKeys()


@pytest.fixture
async def host(nursery, before, tmp_path) -> Host:
    made = Host(before, tmp_path)
    nursery.start_soon(made.feed.feed_core)
    await wait_all_tasks_blocked()
    return made


async def test_after_a_rotation_the_core_takes_honest_gos_again(host, before) -> None:
    after, bench = rotated(before, "go"), host.bench
    bench.ready(PLAN, but="go")
    host.hear(before, a_go(lease_seq=1 << 40, issued_at=bench.wall_s))
    await wait_all_tasks_blocked()
    assert bench.why == "not-granted"
    await host.learn(after)
    honest = a_go(activate(PLAN), lease_seq=2, issued_at=bench.wall_s)
    with pytest.raises(TrustError):
        host.hear(before, honest)
    host.hear(after, honest)
    await wait_all_tasks_blocked()
    assert bench.starting is not None


async def test_after_a_rotation_the_core_forgets_a_thiefs_plan(host, before) -> None:
    after, bench = rotated(before, "deployer"), host.bench
    host.hear(before, *orders_of(PLAN))
    await wait_all_tasks_blocked()
    assert bench.said.plan_seq == PLAN.plan.plan_seq
    await host.learn(after)
    await wait_all_tasks_blocked()
    assert bench.said.plan_seq != PLAN.plan.plan_seq
    bench.ready(PLAN, but="orders")
    assert (bench.why, bench.starting) == ("", None)
    host.hear(after, PLAN.roster, PLAN.plan, PLAN.revert)
    await wait_all_tasks_blocked()
    bench.wait(PLAN.plan.settle_s)
    assert bench.starting is not None, "the ROLLOUT was sealed by another key and stayed"


async def test_a_renewal_that_judged_older_keys_does_not_bring_them_back(
    host, before, tmp_path
) -> None:
    """The bundle was judged by the renewal, and a newer one here before its files were taken."""
    after = rotated(before, "go")
    renewed = an_identity(before, tmp_path)
    await host.learn(after)
    host.follower.take_renewed(renewed)
    host.hear(after, a_go(activate(PLAN), lease_seq=1))
    with pytest.raises(TrustError):
        host.hear(before, a_go(activate(PLAN), lease_seq=2))


async def test_one_more_key_takes_nothing_from_the_core(host, before) -> None:
    bench = host.bench
    bench.ready(PLAN, but="go")
    host.hear(before, a_go(lease_seq=7, issued_at=bench.wall_s))
    both = rotated(before, "go")
    roles = {**before.orders.roles, "go-next": both.orders.roles["go"]}
    both.orders = msgspec.structs.replace(before.orders, roles=roles)
    await host.learn(both)
    await wait_all_tasks_blocked()
    assert bench.why == "not-granted"
    late = seal(a_go(activate(PLAN), lease_seq=6, issued_at=bench.wall_s), before.roles["go"])
    host.gossip.publish(late)
    await wait_all_tasks_blocked()
    assert bench.starting is None


async def test_after_a_rotation_of_enrol_words_of_made_up_hosts_open_no_gate(host, before) -> None:
    after, bench = rotated(before, "enrol"), host.bench
    bench.ready(PLAN, but="evidence")
    words = [
        msgspec.structs.replace(
            a_word(m.host, PLAN.plan.plan_seq, Rank.HEALTHY), epoch=(1 << 32) + (1 << 20)
        )
        for m in PLAN.roster.members
        if m.fault_domain < 2
    ]
    assert bench.why == "evidence"
    host.hear(before, *words)
    await wait_all_tasks_blocked()
    assert bench.why == "settling", "each of them speaks for itself"
    await host.learn(after)
    await wait_all_tasks_blocked()
    bench.wait(PLAN.plan.settle_s)
    assert (bench.why, bench.starting) == ("evidence", None)
    assert host.renewals == 1
