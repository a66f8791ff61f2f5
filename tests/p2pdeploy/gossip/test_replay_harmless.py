"""What is replayed to a host that cannot know it (it has restarted since) changes no belief.

The seal refuses what a host has heard; here every captured datagram reaches the cores of all,
whoever it was meant for, as if no window were there.
"""

from __future__ import annotations

from random import Random

from p2pdeploy.gossip.effects import SendDatagram
from p2pdeploy.gossip.events import PacketReceived
from p2pdeploy.ids import HostName
from p2pdeploy.messages.gossip import MemberRumour, Status
from p2pdeploy.testing.gossip_world import GossipWorld

HOSTS = 5
VICTIM = "h03"


class WiretappedWorld(GossipWorld):
    """Keeps every datagram that any host sends, with where it came from."""

    def __init__(self) -> None:
        self.captured: list[PacketReceived] = []
        super().__init__(hosts=HOSTS)

    def _send_datagram(self, name: HostName, effect: SendDatagram) -> None:
        me = self._members[name]
        self.captured.append(PacketReceived(me.address, me.gossip_port, effect.packet))
        super()._send_datagram(name, effect)

    def replay_everything(self) -> None:
        events = list(self.captured)
        Random(1).shuffle(events)
        for event in events:
            for name in tuple(self.cores):
                self.inject(name, event)

    def all_believe(self, status: Status) -> bool:
        views = self.views(VICTIM)
        return len(views) == HOSTS - 1 and set(views.values()) == {status}


def a_world_with_a_past() -> WiretappedWorld:
    """The victim was cut off, called unreachable by all, and came back with a refutation."""
    world = WiretappedWorld()
    world.run(5)
    world.partition({VICTIM})
    world.run_until(lambda: world.all_believe(Status.UNREACHABLE), within_s=120)
    world.heal()
    world.run_until(lambda: world.all_believe(Status.ALIVE), within_s=120)
    world.run(5)
    accused = {
        rumour.member.status
        for event in world.captured
        for rumour in event.packet.rumours
        if isinstance(rumour, MemberRumour) and rumour.member.name == VICTIM
    }
    assert accused >= {Status.ALIVE, Status.SUSPECT, Status.UNREACHABLE}, "it is all on tape"
    return world


def test_replayed_accusations_mark_no_living_host() -> None:
    world = a_world_with_a_past()
    before = len(world.changes)
    world.replay_everything()
    world.run(60)
    assert world.changes[before:] == []
    assert world.all_believe(Status.ALIVE)


def test_replayed_pings_acks_and_refutations_bring_no_dead_host_back() -> None:
    world = a_world_with_a_past()
    world.crash(VICTIM)
    world.run_until(lambda: world.all_believe(Status.UNREACHABLE), within_s=120)
    before = len(world.changes)
    world.replay_everything()
    world.run(60)
    assert world.changes[before:] == []


def test_a_host_that_restarted_and_hears_only_replays_is_corrected_by_its_cell() -> None:
    world = a_world_with_a_past()
    world.crash("h05")
    world.restart("h05")
    for event in world.captured:
        world.inject(HostName("h05"), event)
    world.run(30)
    assert world.all_believe(Status.ALIVE)
