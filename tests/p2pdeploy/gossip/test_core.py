"""A cell of cores in a world of virtual time: rumours, anti-entropy, membership, strangers."""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec
import pytest

from p2pdeploy.codec import encode
from p2pdeploy.errors import TrustError
from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.gossip.core import GossipCore
from p2pdeploy.gossip.dissemination import INLINE_BYTES_MAX
from p2pdeploy.gossip.effects import (
    GossipDue,
    ItemMerged,
    MemberChanged,
    OfferDue,
    ReplyStream,
    SendDatagram,
    SendStream,
    SetTimer,
)
from p2pdeploy.gossip.events import (
    LeaveDecided,
    LocalItemPublished,
    LoopLagMeasured,
    PacketReceived,
    SeedsLearned,
    StreamAnswered,
    StreamFailed,
    StreamRequested,
    TimerFired,
)
from p2pdeploy.gossip.outbox import PACKET_BYTES_MAX
from p2pdeploy.gossip.state import item_of
from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName, ServiceName
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.gossip import (
    Ack,
    Exchange,
    Have,
    Item,
    Items,
    MemberRumour,
    Nack,
    Offer,
    Packet,
    Ping,
    Status,
)
from p2pdeploy.messages.orders import Abort, Roster, RosterMember
from p2pdeploy.testing.gossip_world import CELL, PORT, GossipWorld, a_member
from p2pdeploy.testing.keyring import HmacKeyring
from p2pdeploy.trust.envelope import Sealed, open_envelope, seal

KEYS = HmacKeyring(b"k" * 32)
WEB = ServiceName("web")


def attested(host: str = "h01", seq: int = 1, cell: CellId = CELL, reason: str = "") -> Attestation:
    return Attestation(
        cell=cell,
        host=HostName(host),
        service=WEB,
        fault_domain=FaultDomain("fd1"),
        epoch=1,
        seq=seq,
        reason=reason,
    )


def aborted(watermark: int) -> Abort:
    return Abort(cell=CELL, service=WEB, watermark=watermark, rollout_seq=1, code="c", reason="r")


def a_roster(hosts: int) -> Roster:
    members = tuple(RosterMember(HostName(f"h{n:04}"), n % 3, 0) for n in range(hosts))
    return Roster(cell=CELL, service=WEB, plan_seq=3, members=members)


def told(message: Sealed, key_id: str, keys: HmacKeyring = KEYS) -> Item:
    return item_of(message, seal(message, keys.named(key_id)))


class Host:
    """Host 1 of a cell of six, alone in the test."""

    def __init__(self, size: int = 6) -> None:
        self.verified = 0
        self.core = GossipCore(a_member(1), CELL, GossipConfig(), Random(1), self.verify)
        self.core.handle(SeedsLearned(tuple(a_member(n) for n in range(1, size + 1))), 0.0)

    def verify(self, envelope: bytes) -> Sealed:
        self.verified += 1
        return open_envelope(envelope, KEYS)

    def hears(self, *rumours: object, message: object = None, cell: CellId = CELL) -> list[object]:
        sender = a_member(2)
        packet = Packet(cell, sender.name, message, tuple(rumours))  # type: ignore[arg-type]  # any kind of message
        return list(self.core.handle(PacketReceived(sender.address, PORT, packet), 1.0))


# --- a cell ---------------------------------------------------------------------------------


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


# --- one host -------------------------------------------------------------------------------


def test_what_is_published_is_told_and_gossip_runs_only_while_there_are_rumours() -> None:
    host = Host()
    item = told(attested(), "host/h01")
    effects = host.core.handle(LocalItemPublished(item.envelope), 1.0)
    assert effects == [ItemMerged(attested(), item), SetTimer(GossipDue(), 1.2)]
    rounds, now = 0, 1.2
    while True:
        effects = host.core.handle(TimerFired(GossipDue()), now)
        datagrams = [e for e in effects if isinstance(e, SendDatagram)]
        assert all(d.packet.rumours == (item,) for d in datagrams)
        rounds += len(datagrams)
        timers = [e for e in effects if isinstance(e, SetTimer)]
        if not timers:
            break
        now = timers[0].at
    assert rounds == GossipConfig().transmits_max(6)


def test_a_forged_envelope_is_neither_stored_nor_told_on() -> None:
    host = Host()
    forged = told(attested("h02"), "host/h02", HmacKeyring(b"other" * 8))
    speaks_for_another = told(attested("h02"), "host/h03")
    mislabelled = Item("att/web/h02", (9, 9), told(attested("h02"), "host/h02").envelope)
    assert host.hears(forged, mislabelled) == []
    assert host.hears(speaks_for_another) == []
    assert len(host.core.state) == 0
    statistics = host.core.statistics()
    assert statistics.totals.items_refused == 3
    assert statistics.rumours == 0


def test_a_forged_local_envelope_raises() -> None:
    host = Host()
    forged = told(attested(), "host/h01", HmacKeyring(b"other" * 8))
    with pytest.raises(TrustError):
        host.core.handle(LocalItemPublished(forged.envelope), 1.0)
    assert len(host.core.state) == 0


def test_a_message_for_another_cell_is_refused_even_in_a_packet_of_this_one() -> None:
    host = Host()
    foreign = told(attested("h02", cell=CellId("lab.db.c0")), "host/h02")
    assert host.hears(foreign) == []
    assert host.core.statistics().totals.items_refused == 1


def test_packets_of_another_cell_are_dropped_and_counted_on_both_channels() -> None:
    host = Host()
    other = CellId("lab.db.c0")
    item = told(attested("h02"), "host/h02")
    assert host.hears(item, message=Ping(1, HostName("h01")), cell=other) == []
    request = Packet(other, HostName("h02"), Ping(1, HostName("h01")))
    assert host.core.handle(StreamRequested(7, request), 1.0) == [ReplyStream(7, None)]
    assert len(host.core.state) == 0
    assert host.core.statistics().totals.dropped_foreign_cell == 2


def test_a_rumour_heard_twice_is_verified_once() -> None:
    host = Host()
    item = told(attested("h02", seq=5), "host/h02")
    host.hears(item)
    assert host.verified == 1
    host.hears(item, told(attested("h02", seq=4), "host/h02"))
    assert host.verified == 1


def test_a_suspicion_rides_with_its_refutation_and_the_refutation_is_heard_first() -> None:
    host = Host()
    three = a_member(3)
    suspect = MemberRumour(msgspec.structs.replace(three, status=Status.SUSPECT), HostName("h02"))
    alive = MemberRumour(msgspec.structs.replace(three, incarnation=1))
    changes = [e for e in host.hears(suspect, alive) if isinstance(e, MemberChanged)]
    assert changes == [], "listeners never hear of a suspicion that is refuted beside it"
    assert msgspec.structs.replace(three, incarnation=1) in host.core.members()
    assert host.core.statistics().members_suspect == 0


def test_equal_states_with_different_memberships_exchange_members() -> None:
    one, two = Host(), Host()
    gone = msgspec.structs.replace(a_member(3), status=Status.UNREACHABLE)
    back = msgspec.structs.replace(a_member(4), incarnation=2)
    one.hears(MemberRumour(gone))
    two.hears(MemberRumour(back))
    offer = Offer((0,) * 16, members=two.core.statistics().members_alive)
    (call,) = [e for e in one.hears(message=offer) if isinstance(e, SendStream)]
    answer = two.core.handle(StreamRequested(1, call.request), 1.0)[0]
    assert isinstance(answer, ReplyStream)
    assert answer.reply is not None
    reply = answer.reply
    one.core.handle(StreamAnswered(call.address, call.port, call.request, reply), 1.0)
    for host in (one, two):
        assert {gone, back} <= set(host.core.members())


def test_equal_replicas_open_no_stream() -> None:
    one, two = Host(), Host()
    timers = two.core.handle(TimerFired(OfferDue()), 1.0)
    (sent,) = [e for e in timers if isinstance(e, SendDatagram)]
    assert one.hears(message=sent.packet.message) == []


def test_the_answer_to_an_accusation_carries_the_refutation() -> None:
    host = Host()
    accused = msgspec.structs.replace(a_member(1), status=Status.SUSPECT)
    effects = host.hears(MemberRumour(accused), message=Ping(5, HostName("h01")))
    answer = effects[0]
    assert isinstance(answer, SendDatagram)
    assert answer.packet.message == Ack(5)
    assert answer.packet.rumours == (
        MemberRumour(msgspec.structs.replace(a_member(1), incarnation=1)),
    )


def test_a_large_item_is_pulled_once_and_again_only_after_failure() -> None:
    host = Host()
    item = told(a_roster(200), "deployer")
    assert len(item.envelope) > INLINE_BYTES_MAX
    have = Have(item.key, item.version)
    pulls = [e for e in host.hears(have, have) if isinstance(e, SendStream)]
    assert [p.request.message for p in pulls] == [Exchange((), (item.key,))]
    assert host.hears(have) == []
    failed = StreamFailed(pulls[0].address, pulls[0].port, pulls[0].request)
    host.core.handle(failed, 2.0)
    pulls = [e for e in host.hears(have) if isinstance(e, SendStream)]
    reply = Packet(CELL, HostName("h02"), Items((item,)))
    answered = StreamAnswered(pulls[0].address, pulls[0].port, pulls[0].request, reply)
    effects = host.core.handle(answered, 3.0)
    assert [e.item for e in effects if isinstance(e, ItemMerged)] == [item]
    assert host.hears(have) == [], "held now"


def test_offers_open_one_exchange_per_peer_and_a_bounded_number_in_all() -> None:
    host = Host()
    offer = Offer((1,) * 16)
    opened = 0
    for n in range(2, 30):
        for _ in range(2):
            packet = Packet(CELL, a_member(n).name, offer)
            event = PacketReceived(a_member(n).address, PORT, packet)
            opened += sum(isinstance(e, SendStream) for e in host.core.handle(event, 1.0))
    assert opened == 8


def test_messages_on_the_wrong_channel_are_dropped_and_counted() -> None:
    host = Host()
    assert host.hears(message=Items(())) == []
    for message in (None, Nack(1), Ping(1, HostName("h99"))):
        request = StreamRequested(3, Packet(CELL, HostName("h02"), message))
        assert host.core.handle(request, 1.0) == [ReplyStream(3, None)]
    assert host.core.statistics().totals.dropped_misplaced == 4


def test_every_datagram_fits_however_much_there_is_to_tell() -> None:
    host = Host()
    for n in range(2, 60):
        host.hears(told(attested(f"h{n:02}", reason="r" * n), f"host/h{n:02}"))
    for number in range(200):
        sent = host.core.handle(TimerFired(GossipDue()), 2.0 + number)
        for effect in sent:
            if isinstance(effect, SendDatagram):
                assert len(encode(effect.packet)) <= PACKET_BYTES_MAX


def test_a_lagging_loop_worsens_local_health() -> None:
    host = Host()
    host.core.handle(LoopLagMeasured(0.05), 1.0)
    assert host.core.statistics().local_health == 0
    host.core.handle(LoopLagMeasured(0.9), 1.0)
    assert host.core.statistics().local_health == 1


def test_a_cell_of_one_host_never_ticks() -> None:
    host = Host(size=1)
    item = told(attested(), "host/h01")
    assert host.core.handle(LocalItemPublished(item.envelope), 1.0) == [
        ItemMerged(attested(), item)
    ]


def test_digests_of_builds_travel_unharmed() -> None:
    host = Host()
    message = msgspec.structs.replace(attested("h02"), digest=Digest("ab" * 32))
    effects = host.hears(told(message, "host/h02"))
    assert isinstance(effects[0], ItemMerged)
    assert effects[0].message == message
