"""A cell's gossip: what is refused changes nothing, and what is accepted is survived.

Beside strangers' bytes there are insiders': well formed, rightly signed, and absurd.
"""

from __future__ import annotations

from random import Random

import pytest

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import P2PDeployError, ProtocolError
from p2pdeploy.gossip.anti_entropy import admit, open_item
from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.gossip.core import GossipCore
from p2pdeploy.gossip.effects import Effect, ItemMerged, ReplyStream, SendDatagram, SendStream
from p2pdeploy.gossip.events import (
    PacketReceived,
    SeedsLearned,
    StreamAnswered,
    StreamFailed,
    StreamRequested,
)
from p2pdeploy.gossip.state import CellState, item_of
from p2pdeploy.ids import HostName
from p2pdeploy.limits import FRAME_BYTES_MAX
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.gossip import (
    Ack,
    Diff,
    Exchange,
    Item,
    Items,
    MemberRumour,
    Message,
    Offer,
    Packet,
    Ping,
    PingRequest,
)
from p2pdeploy.testing.gossip_world import CELL, PORT, a_member
from p2pdeploy.testing.keyring import HmacKeyring
from p2pdeploy.testing.orders import a_go, a_plan, a_word, orders_of
from p2pdeploy.trust.envelope import ROLE_OF, Envelope, Sealed, _pae, _type_of, open_envelope, seal
from tests.fuzz.mutations import mutated
from tests.fuzz.running import DECODERS, input_of
from tests.fuzz.wire_decoders import RECEIVER, SENDER

COUNTS = [1_500, pytest.param(50_000, marks=pytest.mark.soak)]
counted = pytest.mark.parametrize("count", COUNTS, ids=["sample", "soak"])

KEYS = HmacKeyring(b"k" * 32)
WORDS: tuple[Sealed, ...] = (*orders_of(a_plan()), a_go(), a_word("h1", 4, Rank.HEALTHY))


def verify(envelope: bytes) -> Sealed:
    return open_envelope(envelope, KEYS)


def key_id_for(message: Sealed) -> str:
    return f"host/{message.host}" if isinstance(message, Attestation) else ROLE_OF[type(message)]


def sealed(message: Sealed) -> Item:
    return item_of(message, seal(message, KEYS.named(key_id_for(message))))


def absurd_item(rng: Random) -> Item:
    """An item as nobody honest tells it: damaged, misplaced, or signed by an insider gone mad."""
    message = rng.choice(WORDS)
    honest = sealed(message)
    match rng.randrange(4):
        case 0:
            envelope = mutated((honest.envelope,), "msgpack", rng)
            return Item(honest.key, (honest.version[0] + 1, 0), envelope)
        case 1:
            key = rng.choice(("", "go", "att/web/h2", "plan/../x", "x" * 400, honest.key))
            return Item(key, (rng.choice((0, 1, 2**63, 2**64 - 1)), 0), honest.envelope)
        case _:
            kind, payload = _type_of(type(message)), mutated((encode(message),), "msgpack", rng)
            signature = KEYS.named(key_id_for(message)).sign(_pae(kind, payload))
            envelope = encode(Envelope(kind, payload, ((key_id_for(message), signature),)))
            try:
                return item_of(verify(envelope), envelope)
            except P2PDeployError:
                return Item(honest.key, (2**40, 0), envelope)


def digest_of_state(state: CellState) -> object:
    return sorted((item.key, item.version, item.envelope) for item in state.items()), len(state)


@counted
def test_refused_items_leave_a_cell_as_it_was(count: int) -> None:
    state, refused = CellState(CELL), 0
    admit(state, [sealed(message) for message in WORDS], verify)
    for seed in range(count):
        item = absurd_item(Random(f"items/{seed}"))
        before = digest_of_state(state) if len(state) < 100 else len(state)
        done = admit(state, [item], verify)
        refused += done.refused
        for new, _ in done.merged:
            assert open_item(new.envelope, CELL, verify)[0] == new
            assert decode(encode(new), Item, bytes_max=FRAME_BYTES_MAX) == new, (
                "others can't read it"
            )
        if not done.merged:
            after = digest_of_state(state) if len(state) < 100 else len(state)
            assert after == before, f"seed {seed}: {item}"
    assert refused > count / 5


def honest_packets() -> tuple[bytes, ...]:
    items = tuple(sealed(message) for message in WORDS)
    versions = tuple((item.key, item.version) for item in items)
    messages: tuple[Message | None, ...] = (
        *(None, Ping(1, HostName("h01")), Ack(1), Offer((0,) * 16), Items(items)),
        PingRequest(2, HostName("h03"), "127.0.0.13", PORT),
        Diff(tuple(range(16)), versions, (a_member(3),)),
        Exchange(items[:2], ("go", "plan/web"), (a_member(2),)),
    )
    rumours = (MemberRumour(a_member(3), HostName("h02")), *items[:2])
    return tuple(encode(Packet(CELL, HostName("h02"), each, rumours)) for each in messages)


def packets_sent(effects: list[Effect]) -> list[Packet]:
    return [
        packet
        for effect in effects
        for packet in (
            effect.packet
            if isinstance(effect, SendDatagram)
            else effect.request
            if isinstance(effect, SendStream)
            else effect.reply
            if isinstance(effect, ReplyStream)
            else None,
        )
        if packet is not None
    ]


@counted
def test_gossip_survives_any_packet_and_tells_on_what_others_can_read(count: int) -> None:
    """Only what was verified changes the cell's state, and each such change is announced."""
    core = GossipCore(a_member(1), CELL, GossipConfig(), Random(1), verify)
    core.handle(SeedsLearned(tuple(a_member(number) for number in range(1, 6))), 0.0)
    honest, heard = honest_packets(), 0
    request = decode(honest[0], Packet, bytes_max=FRAME_BYTES_MAX)
    for seed in range(count):
        rng = Random(f"packets/{seed}")
        try:
            packet = decode(mutated(honest, "msgpack", rng), Packet, bytes_max=FRAME_BYTES_MAX)
        except ProtocolError:
            continue
        heard += 1
        before, members = digest_of_state(core.state), core.members()
        event = rng.choice(
            (
                PacketReceived("127.0.0.12", PORT, packet),
                StreamRequested(seed, packet),
                StreamAnswered("127.0.0.12", PORT, request, packet),
                StreamFailed("127.0.0.12", PORT, packet),
            )
        )
        effects = core.handle(event, seed / 100)
        has_merged = any(isinstance(effect, ItemMerged) for effect in effects)
        assert has_merged or digest_of_state(core.state) == before, f"seed {seed}: {event}"
        if packet.cell != CELL:
            assert core.members() == members, f"seed {seed}: {event}"
            assert packets_sent(effects) == [], f"seed {seed}: {event}"
        for said in packets_sent(effects):
            assert decode(encode(said), Packet, bytes_max=FRAME_BYTES_MAX) == said
    assert heard > count / 20


@counted
def test_refused_datagrams_leave_the_seal_as_it_was(count: int) -> None:
    """Neither a sender's key nor its place in the replay window can be spoilt from outside."""
    decoder = DECODERS["open_datagram"]
    for seed in range(count):
        before = RECEIVER.senders_known
        with pytest.raises(P2PDeployError):
            RECEIVER.open_datagram(input_of(decoder, seed) + b"\x00")  # never one that is honest
        assert RECEIVER.senders_known == before
        if seed % 100 == 0:
            packet = Packet(CELL, HostName("h1"), Ack(seed))
            assert RECEIVER.open_datagram(SENDER.seal_datagram(packet)) == packet
