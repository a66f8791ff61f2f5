"""A member of the cell that lies about the others, in packets that every host takes for good."""

from __future__ import annotations

from random import Random

import msgspec

from p2pdeploy.gossip.events import PacketReceived
from p2pdeploy.gossip.shell import GossipShell
from p2pdeploy.ids import HostName
from p2pdeploy.messages.gossip import MemberRumour, Packet, Status
from p2pdeploy.testing.activation_bench import Bench
from p2pdeploy.testing.gossip_world import CELL, GossipWorld, a_member
from p2pdeploy.testing.keyring import HmacKeyring
from p2pdeploy.testing.orders import a_plan
from p2pdeploy.trust.cell_keys import first_cell_keys
from p2pdeploy.trust.envelope import open_envelope

HOSTS = 6
INSIDER = a_member(1)
OTHERS = tuple(f"h{number:02}" for number in range(2, HOSTS + 1))
PLAN = a_plan()


class SlanderedWorld(GossipWorld):
    """``h01`` tells every other host the same of all of them."""

    def __init__(self) -> None:
        super().__init__(hosts=HOSTS)
        self.run(5)

    def slander(self, **lies: object) -> None:
        for number in range(2, HOSTS + 1):
            member = msgspec.structs.replace(a_member(number), **lies)
            rumours = (MemberRumour(member, INSIDER.name),)
            packet = Packet(CELL, INSIDER.name, None, rumours)
            event = PacketReceived(INSIDER.address, INSIDER.gossip_port, packet)
            for name in OTHERS:
                self.inject(HostName(name), event)

    def believed(self, field: str) -> list[set[object]]:
        """What the others believe of each of themselves."""
        cores = [self.cores[HostName(name)] for name in OTHERS]
        return [
            {getattr(m, field) for core in cores for m in core.members() if m.name == name}
            for name in OTHERS
        ]


def test_an_insider_that_marks_others_dead_is_refuted() -> None:
    world = SlanderedWorld()
    for incarnation in range(0, 50, 10):
        world.slander(status=Status.UNREACHABLE, incarnation=incarnation)
        assert world.believed("status") != [{Status.ALIVE}] * len(OTHERS), "it was heard"
        world.run(20)
        assert world.believed("status") == [{Status.ALIVE}] * len(OTHERS)


def test_an_insider_that_gives_others_its_own_address_is_refuted() -> None:
    world = SlanderedWorld()
    world.slander(address=INSIDER.address, incarnation=7)
    world.run(20)
    assert world.believed("address") == [{a_member(n).address} for n in range(2, HOSTS + 1)]


async def test_a_revoked_host_does_not_come_back_under_a_name_that_it_made_up() -> None:
    revoked, made_up = a_member(3), msgspec.structs.replace(a_member(3), name=HostName("h99"))
    shell = GossipShell(
        me=a_member(1),
        cell=CELL,
        rng=Random(1),
        verify=lambda envelope: open_envelope(envelope, HmacKeyring(b"k" * 32)),
        keys=first_cell_keys(CELL, b"g" * 32),
    )
    shell.learn_seeds((a_member(2), revoked, made_up))
    assert {member.name for member in shell.members()} == {"h01", "h02", "h03", "h99"}
    shell.refuse({revoked.name: revoked.address})
    assert {member.name for member in shell.members()} == {"h01", "h02"}


def test_an_insider_that_marks_everybody_dead_stops_a_rollout_and_starts_nothing() -> None:
    host = Bench("h3")
    host.ready(PLAN, but="settle")
    host.see("h3")
    host.wait(PLAN.plan.settle_s)
    assert (host.starting, host.why) == (None, "live-guard")


def test_an_insider_that_brings_the_dead_back_opens_no_gate() -> None:
    host = Bench("h3")
    host.ready(PLAN, but="evidence")
    host.see(*(member.host for member in PLAN.roster.members))
    host.wait(25)
    assert (host.starting, host.why) == (None, "evidence")
