"""Gossip in a simulated cell: what is told reaches everybody, whatever is lost or comes back."""

from __future__ import annotations

from collections import Counter

import pytest

from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.gossip.events import LeaveDecided
from p2pdeploy.ids import HostName
from p2pdeploy.messages.gossip import Status
from p2pdeploy.testing.gossip_world import GossipWorld
from tests.p2pdeploy.gossip.messages import a_roster, aborted, attested


def test_a_rumour_reaches_fifty_hosts_at_thirty_percent_loss() -> None:
    world = GossipWorld(hosts=50, seed=3, loss=0.3)
    world.run(2.0)
    world.publish("h01", attested(), key_id="host/h01")
    took_s = world.run_until(lambda: world.holders("att/web/h01") == 50, within_s=10) - 2.0
    assert took_s < 5.0
    assert all(world.merged[name] == [attested()] for name in world.names)


@pytest.mark.parametrize("seed", range(5))
def test_no_member_is_lost_to_packet_loss(seed: int) -> None:
    world = GossipWorld(hosts=20, seed=seed, loss=0.3)
    world.run(60)
    assert {status for _, _, _, status in world.changes} <= {Status.ALIVE, Status.SUSPECT}


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    def run(seed: int) -> tuple[object, ...]:
        world = GossipWorld(hosts=15, seed=seed, loss=0.2)
        world.publish("h03", attested("h03"), key_id="host/h03")
        world.crash("h05")
        world.run(30)
        return dict(world.sent), world.changes, world.merged

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_crashed_host_becomes_unreachable_everywhere_and_comes_back_by_itself() -> None:
    world = GossipWorld(hosts=20, seed=5)
    world.run(5)
    world.crash("h07")
    gone = {Status.UNREACHABLE}
    world.run_until(lambda: set(world.views("h07").values()) == gone, within_s=40)
    assert all(HostName("h07") not in core.alive_members() for core in world.cores.values())
    world.restart("h07")
    world.run_until(lambda: set(world.views("h07").values()) == {Status.ALIVE}, within_s=10)


def test_a_host_of_the_inventory_that_never_ran_is_alive_to_nobody_and_not_spoken_of() -> None:
    world = GossipWorld(hosts=20, seed=6)
    world.crash("h07")
    for _ in range(60):
        world.run(1)
        assert all(HostName("h07") not in core.alive_members() for core in world.cores.values())
    assert all(len(core.alive_members()) == 19 for core in world.cores.values())
    assert not any(core.statistics().members_suspect for core in world.cores.values())
    world.restart("h07")
    joined_s = world.run_until(
        lambda: all(len(core.alive_members()) == 20 for core in world.cores.values()), within_s=10
    )
    assert joined_s < 60 + 3


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_a_cell_that_is_switched_on_has_heard_of_all_in_seconds(loss: float) -> None:
    world = GossipWorld(hosts=100, seed=4, loss=loss)
    assert all(len(core.alive_members()) == 1 for core in world.cores.values())
    world.run_until(
        lambda: all(len(core.alive_members()) == 100 for core in world.cores.values()), within_s=8
    )


def test_a_host_that_starts_alone_counts_itself_only() -> None:
    world = GossipWorld(hosts=6, seed=4)
    for name in world.names[1:]:
        world.crash(name)
    world.run(30)
    assert world.cores[HostName("h01")].alive_members() == {"h01"}
    assert world.cores[HostName("h01")].statistics().members_alive == 1


def test_a_host_that_leaves_is_never_suspected_and_may_return() -> None:
    world = GossipWorld(hosts=10, seed=5)
    world.run(5)
    world.inject(HostName("h07"), LeaveDecided())
    world.run(0.1)
    world.crash("h07")
    world.run_until(lambda: set(world.views("h07").values()) == {Status.LEFT}, within_s=5)
    world.run(60)
    assert set(world.views("h07").values()) == {Status.LEFT}
    world.restart("h07")
    world.run_until(lambda: set(world.views("h07").values()) == {Status.ALIVE}, within_s=20)


def test_a_healed_partition_completes_state_and_membership_by_itself() -> None:
    world = GossipWorld(hosts=30, seed=7, loss=0.1)
    world.run(2)
    west = {f"h{n:02}" for n in range(1, 11)}
    world.partition(west)
    world.run(90)
    assert len(world.cores[HostName("h01")].alive_members()) == 10
    assert len(world.cores[HostName("h20")].alive_members()) == 20
    for name in world.names:
        world.publish(name, attested(name, seq=9), key_id=f"host/{name}")
    world.publish("h01", aborted(4), key_id="abort")
    world.run(30)
    assert world.holders("abort/web") == 10
    world.heal()

    def equal() -> bool:
        cores = world.cores.values()
        return len({core.state.summary() for core in cores}) == 1 and all(
            len(core.alive_members()) == 30 for core in cores
        )

    world.run_until(equal, within_s=40)
    assert world.holders("abort/web") == 30
    assert all(len(core.state) == 31 for core in world.cores.values())


def test_a_host_that_starts_late_learns_the_whole_state() -> None:
    world = GossipWorld(hosts=12, seed=2)
    world.crash("h12")
    world.publish("h01", a_roster(300), key_id="deployer")
    for name in world.names[:11]:
        world.publish(name, attested(name), key_id=f"host/{name}")
    world.run(60)
    world.restart("h12")
    late = world.cores[HostName("h12")]
    world.run_until(lambda: len(late.state) == 12, within_s=10)


def test_a_large_item_is_pulled_by_everybody() -> None:
    world = GossipWorld(hosts=25, seed=4, loss=0.2)
    roster = a_roster(1_000)
    world.run(2)
    world.publish("h01", roster, key_id="deployer")
    world.run_until(lambda: world.holders("roster/web") == 25, within_s=15)
    assert all(world.merged[name] == [roster] for name in world.names)


def test_a_quiet_cell_sends_probes_and_offers_only() -> None:
    world = GossipWorld(hosts=20, seed=8)
    world.publish("h01", attested(), key_id="host/h01")
    world.run(30)
    before = Counter(world.sent)
    world.run(60)
    sent = world.sent - before
    assert set(sent) == {"Ping", "Ack", "Offer"}
    assert sent["Ping"] == sent["Ack"] == pytest.approx(20 * 60, abs=20)
    assert sent["Offer"] < 20 * 60


@pytest.mark.parametrize(("hosts", "within_s"), [(16, 0.3), (100, 0.4)])
def test_orders_reach_a_cell_in_well_under_half_a_second(hosts: int, within_s: float) -> None:
    world = GossipWorld(hosts=hosts, seed=8)
    world.run(10.0)
    before = sum(world.sent.values())
    world.publish("h01", aborted(1), key_id="abort")
    world.publish("h01", a_roster(hosts), key_id="deployer")
    for key in ("abort/web", "roster/web"):
        assert (
            world.run_until(lambda key=key: world.holders(key) == hosts, within_s=1) < 10 + within_s
        )
    world.run(5.0)
    sent = sum(world.sent.values()) - before
    calm = GossipWorld(hosts=hosts, seed=8)
    calm.run(10.0)
    calm_before = sum(calm.sent.values())
    calm.run(world.now - 10.0)
    told = sent - (sum(calm.sent.values()) - calm_before)
    assert told < 3 * hosts * GossipConfig().transmits_max(hosts), "no storm"
