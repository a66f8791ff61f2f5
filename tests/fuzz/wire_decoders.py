"""What comes over a wire: messages, frames, sealed packets, announces, chunks."""

from __future__ import annotations

import zlib
from random import Random
from urllib.parse import quote

import msgspec

from p2pdaemon.control import _from_json as from_json
from p2pdeploy import bencode
from p2pdeploy.codec import FrameReader, frame
from p2pdeploy.errors import ProtocolError, TrustError, UnavailableError
from p2pdeploy.gossip.wire import SALT_BYTES, PacketSeal
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.limits import ENVELOPE_BYTES_MAX, FRAME_BYTES_MAX, MANIFEST_BYTES_MAX
from p2pdeploy.messages.access import AccessRow
from p2pdeploy.messages.api import ErrorDocument, HostView, ReleaseView, RolloutRequest, RolloutView
from p2pdeploy.messages.audit import AuditEntry
from p2pdeploy.messages.deal import (
    DEAL_REPLY_BYTES_MAX,
    DEAL_REQUEST_BYTES_MAX,
    GAP_REQUEST_BYTES_MAX,
    DealReply,
    DealRequest,
    GapRequest,
)
from p2pdeploy.messages.enrolment import (
    CELL_TRUST_BYTES_MAX,
    ENROLMENT_BYTES_MAX,
    CellTrust,
    EnrolRequest,
    IssuedIdentity,
    RenewRequest,
)
from p2pdeploy.messages.enrolment_company import (
    COMPANY_ENROLMENT_BYTES_MAX,
    COMPANY_STATEMENT_BYTES_MAX,
    CompanyEnrolRequest,
    CompanyStatement,
)
from p2pdeploy.messages.enrolment_desk import EnrolmentStatus, RevokeRequest, TokenRequest
from p2pdeploy.messages.gateways import Gateways
from p2pdeploy.messages.gossip import Packet
from p2pdeploy.messages.host import (
    HOST_REPLY_BYTES_MAX,
    HOST_REQUEST_BYTES_MAX,
    HostReply,
    HostRequest,
)
from p2pdeploy.messages.operators import (
    IssueRequest,
    OperatorPass,
    OperatorRequest,
    OperatorView,
)
from p2pdeploy.messages.outline import (
    OUTLINE_REPLY_BYTES_MAX,
    OUTLINE_REQUEST_BYTES_MAX,
    OutlineReply,
    OutlineRequest,
)
from p2pdeploy.messages.refusal import refusal_of
from p2pdeploy.messages.sync import SyncAnswer, SyncRequest
from p2pdeploy.messages.upload import (
    CHUNK_HEADER,
    END_OF_CHUNKS,
    HELLO_BYTES_MAX,
    PUBLISH_BYTES_MAX,
    CommitRequest,
    PublishRequest,
    ServerWord,
    UploadHello,
)
from p2pdeploy.payload.torrent import info_hash_v2
from p2pdeploy.topology import Host
from p2pdeploy.trust.bundle import BUNDLE_BYTES_MAX, TrustBundle
from p2pdeploy.trust.cell_keys import CellKeys, first_cell_keys
from p2pdeploy.trust.envelope import Envelope, Sealed
from p2ptracker.announce.requests import parse_announce, parse_scrape
from p2ptracker.registry.reception import _cut as cut_chunks
from tests.fuzz.decoder import Decoder, of_json, of_message
from tests.fuzz.samples import samples_of

CELL = CellId("lab.web.c0")
HASH = bytes(range(236, 256))
_FRAME_BYTES_MAX = 1_024

MESSAGES = (
    of_message(Sealed, bytes_max=ENVELOPE_BYTES_MAX, name="Sealed"),
    of_message(Envelope, bytes_max=ENVELOPE_BYTES_MAX),
    of_message(Packet, bytes_max=FRAME_BYTES_MAX),
    of_message(DealRequest, bytes_max=DEAL_REQUEST_BYTES_MAX),
    of_message(DealReply, bytes_max=DEAL_REPLY_BYTES_MAX, name="DealReply"),
    of_message(GapRequest, bytes_max=GAP_REQUEST_BYTES_MAX),
    of_message(OutlineRequest, bytes_max=OUTLINE_REQUEST_BYTES_MAX),
    of_message(OutlineReply, bytes_max=OUTLINE_REPLY_BYTES_MAX),
    of_message(SyncRequest, bytes_max=FRAME_BYTES_MAX, name="SyncRequest"),
    of_message(SyncAnswer, bytes_max=FRAME_BYTES_MAX, name="SyncAnswer"),
    of_message(PublishRequest, bytes_max=PUBLISH_BYTES_MAX),
    of_message(CommitRequest, bytes_max=HELLO_BYTES_MAX),
    of_message(UploadHello, bytes_max=HELLO_BYTES_MAX),
    of_message(ServerWord, bytes_max=HELLO_BYTES_MAX, name="ServerWord"),
    of_message(HostRequest, bytes_max=HOST_REQUEST_BYTES_MAX, name="HostRequest"),
    of_message(HostReply, bytes_max=HOST_REPLY_BYTES_MAX, name="HostReply"),
    of_message(EnrolRequest, bytes_max=ENROLMENT_BYTES_MAX),
    of_message(CompanyEnrolRequest, bytes_max=COMPANY_ENROLMENT_BYTES_MAX),
    of_message(CompanyStatement, bytes_max=COMPANY_STATEMENT_BYTES_MAX),
    of_message(RenewRequest, bytes_max=ENROLMENT_BYTES_MAX),
    of_message(IssuedIdentity, bytes_max=CELL_TRUST_BYTES_MAX),
    of_message(CellTrust, bytes_max=CELL_TRUST_BYTES_MAX),
    of_message(TrustBundle, bytes_max=BUNDLE_BYTES_MAX),
    of_message(CellKeys, bytes_max=BUNDLE_BYTES_MAX),
)


def read_refusal(data: bytes) -> None:
    """Whatever stands in it, there is an error to tell."""
    refusal_of(500, data, where="https://127.0.0.1:7400", unclear=UnavailableError)


def read_frames(data: bytes) -> None:
    """Whole, and cut anywhere: the frames are the same."""
    whole, parts = FrameReader(bytes_max=_FRAME_BYTES_MAX), FrameReader(bytes_max=_FRAME_BYTES_MAX)
    rng, at, frames = Random(zlib.crc32(data)), 0, list[bytes]()
    whole.feed(data)
    expected = list(whole)
    while at < len(data):
        size = rng.choice((1, 2, 7, 300))
        parts.feed(data[at : at + size])
        frames += parts
        at += size
    assert frames == expected
    assert all(len(payload) <= _FRAME_BYTES_MAX for payload in frames)


SENDER = PacketSeal(first_cell_keys(CELL, b"k" * 32), HostName("h1"), b"s" * SALT_BYTES)
RECEIVER = PacketSeal(first_cell_keys(CELL, b"k" * 32), HostName("h2"), b"t" * SALT_BYTES)
_PACKETS = tuple(msgspec.msgpack.decode(data, type=Packet) for data in samples_of(Packet))


def _sealed_as(packet: Packet) -> Packet:
    return msgspec.structs.replace(packet, cell=CELL, sender=HostName("h1"))


def _frame_payload(framed: bytes) -> bytes:
    reader = FrameReader()
    reader.feed(framed)
    (payload,) = reader
    return payload


DATAGRAMS = tuple(SENDER.seal_datagram(_sealed_as(packet)) for packet in _PACKETS)
REQUESTS = tuple(_frame_payload(SENDER.seal_request(_sealed_as(p))[0]) for p in _PACKETS)
_PROOF = b"p" * 16
REPLIES = tuple(_frame_payload(SENDER.seal_reply(_sealed_as(p), _PROOF)) for p in _PACKETS)

_ANNOUNCE = (
    b"info_hash=%s&peer_id=%s&port=6881&uploaded=0&downloaded=0&left=%d&compact=1&event=%s"
    % (quote(HASH).encode(), b"-P20000-" + b"a" * 12, 5, b"started"),
    b"info_hash=%s&peer_id=%s&port=1&left=0&numwant=9&no_peer_id=1" % (HASH.hex().encode(), HASH),
)
_CHUNKS = b"".join(CHUNK_HEADER.pack(n, 9 * n) + b"x" * 9 * n for n in range(1, 5))
_TORRENT = {
    "info": {"file tree": {"a": {"": {"length": 5, "pieces root": HASH + bytes(12)}}}, "name": "n"},
    "piece layers": {HASH + bytes(12): bytes(64)},
}
_TORRENTS = (bencode.encode(_TORRENT), bencode.encode({"info": {"a": [1, -5, "x"]}, "z": 0}))


def read_bencoded(data: bytes) -> None:
    """One value has one spelling."""
    assert bencode.encode(bencode.decode(data, bytes_max=MANIFEST_BYTES_MAX)) == data


STREAMS = (
    Decoder(
        name="FrameReader",
        read=read_frames,
        form="binary",
        honest=(b"".join(frame(b"x" * size) for size in (0, 5, 300, 1_000)), frame(b"y" * 2_000)),
    ),
    Decoder(
        name="upload-chunks",
        read=lambda data: cut_chunks(memoryview(data)),
        form="binary",
        honest=(_CHUNKS + CHUNK_HEADER.pack(END_OF_CHUNKS, 0), _CHUNKS),
    ),
    Decoder(
        name="open_datagram",
        read=RECEIVER.open_datagram,
        form="binary",
        honest=DATAGRAMS,
        refuses=(ProtocolError, TrustError),
    ),
    Decoder(
        name="open_request",
        read=RECEIVER.open_request,
        form="binary",
        honest=REQUESTS,
        refuses=(ProtocolError, TrustError),
    ),
    Decoder(
        name="open_reply",
        read=lambda data: RECEIVER.open_reply(data, _PROOF),
        form="binary",
        honest=REPLIES,
        refuses=(ProtocolError, TrustError),
    ),
    *(
        Decoder(
            name=read.__name__,
            read=read,
            form="query",
            honest=_ANNOUNCE,
            memory_bytes_max=32 * 1024 * 1024,  # bombs of 100 KB; the server hands over 8 KiB
        )
        for read in (parse_announce, parse_scrape)
    ),
    Decoder(name="bencode", read=read_bencoded, form="bencode", honest=_TORRENTS),
    Decoder(name="info_hash_v2", read=info_hash_v2, form="bencode", honest=_TORRENTS),
)
DOCUMENTS = (
    *(
        of_json(f"json {kind.__name__}", kind, lambda data, kind=kind: from_json(data, kind))
        for kind in (
            *(HostView, ReleaseView, RolloutRequest, RolloutView, AuditEntry, AccessRow),
            *(EnrolmentStatus, RevokeRequest, TokenRequest),
            *(IssueRequest, OperatorPass, OperatorRequest, OperatorView),
        )
    ),
    of_json("json inventory", list[Host], lambda data: from_json(data, list[Host])),
    of_json("gateways", Gateways, lambda data: from_json(data, Gateways)),
    of_json("json refusal", ErrorDocument, read_refusal, refuses=()),
)
WIRE_DECODERS = (*MESSAGES, *STREAMS, *DOCUMENTS)
