"""One host's gossip core: what it tells, refuses, pulls and bounds."""

from __future__ import annotations

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
    OrdersDue,
    ReplyStream,
    SendDatagram,
    SendStream,
    SetTimer,
)
from p2pdeploy.gossip.events import (
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
from p2pdeploy.ids import CellId, Digest, HostName
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
from p2pdeploy.testing.gossip_world import CELL, PORT, a_member
from p2pdeploy.testing.keyring import HmacKeyring
from p2pdeploy.trust.envelope import Sealed, open_envelope
from tests.p2pdeploy.gossip.messages import KEYS, a_roster, aborted, attested, told


class Host:
    """Host 1 of a cell of six that has heard the others, alone in the test."""

    def __init__(self, size: int = 6) -> None:
        self.verified = 0
        self.core = GossipCore(a_member(1), CELL, GossipConfig(), Random(1), self.verify)
        self.core.handle(SeedsLearned(tuple(a_member(n) for n in range(1, size + 1))), 0.0)
        for number in range(2, size + 1):  # so that nothing is left to be told of it
            self.core._members.put(a_member(number))

    def verify(self, envelope: bytes) -> Sealed:
        self.verified += 1
        return open_envelope(envelope, KEYS)

    def hears(self, *rumours: object, message: object = None, cell: CellId = CELL) -> list[object]:
        sender = a_member(2)
        packet = Packet(cell, sender.name, message, tuple(rumours))  # type: ignore[arg-type]  # any kind of message
        return list(self.core.handle(PacketReceived(sender.address, PORT, packet), 1.0))


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


def test_an_order_is_told_at_once_and_the_next_ones_soon_after_it() -> None:
    host = Host()
    order = told(aborted(1), "abort")
    effects = host.core.handle(LocalItemPublished(order.envelope), 1.0)
    assert SetTimer(OrdersDue(), 1.0) in effects
    sent = host.core.handle(TimerFired(OrdersDue()), 1.0)
    packets = [e.packet for e in sent if isinstance(e, SendDatagram)]
    assert [packet.rumours for packet in packets] == [(order,)] * GossipConfig().gossip_peers
    later = host.hears(told(aborted(2), "abort"))  # at 1.0
    assert SetTimer(OrdersDue(), 1.0 + GossipConfig().order_interval_s) in later
    assert not [e for e in host.hears(told(aborted(3), "abort")) if isinstance(e, SetTimer)]


def test_what_hosts_say_of_themselves_waits_for_its_turn() -> None:
    timers = [e for e in Host().hears(told(attested(), "host/h01")) if isinstance(e, SetTimer)]
    assert timers == [SetTimer(GossipDue(), 1.0 + GossipConfig().gossip_interval_s)]
