"""Packets as bytes: a MAC, then msgpack; a stream carries one such frame each way.

The MAC is HMAC-SHA256 under the gossip key, cut to 16 bytes (RFC 2104 section 5 allows half the
hash), over the channel, the cell and the payload.  A packet of another cell, of the other
channel, or the reply to another request therefore fails like any forgery.  Old packets may be
replayed; that does no harm, because answers carry tokens and everything else is a join.
"""

from __future__ import annotations

import hashlib
import hmac

from p2pdeploy.codec import decode, encode, frame
from p2pdeploy.errors import ProtocolError, TrustError
from p2pdeploy.gossip.outbox import PACKET_BYTES_MAX
from p2pdeploy.ids import CellId
from p2pdeploy.limits import DATAGRAM_BYTES_MAX, FRAME_BYTES_MAX
from p2pdeploy.messages.gossip import Packet

__all__ = ["MAC_BYTES", "PacketSeal"]

MAC_BYTES = 16
assert PACKET_BYTES_MAX + MAC_BYTES == DATAGRAM_BYTES_MAX, "the core fills just what is left"

_DATAGRAM = b"datagram"
_REQUEST = b"request"
_REPLY = b"reply"


class PacketSeal:
    """Turns packets of one cell into bytes and back, and lets nothing unproven through.

    Every ``open`` raises ProtocolError (size or shape) or TrustError (MAC); drop the bytes.
    """

    def __init__(self, key: bytes, cell: CellId) -> None:
        self._key = key
        name = cell.encode()
        self._cell = b"%d %s" % (len(name), name)

    def seal_datagram(self, packet: Packet) -> bytes:
        """At most ``DATAGRAM_BYTES_MAX`` for a packet that the core made."""
        return self._seal(_DATAGRAM, packet)

    def open_datagram(self, data: bytes) -> Packet:
        """The packet of one datagram."""
        if len(data) > DATAGRAM_BYTES_MAX:
            raise ProtocolError(f"datagram above {DATAGRAM_BYTES_MAX} bytes")
        return self._open(_DATAGRAM, data)

    def seal_request(self, packet: Packet) -> tuple[bytes, bytes]:
        """A frame to send, and the proof that :meth:`open_reply` wants back."""
        sealed = self._seal(_REQUEST, packet)
        return frame(sealed), sealed[:MAC_BYTES]

    def open_request(self, payload: bytes) -> tuple[Packet, bytes]:
        """The packet of one frame's payload, and the proof to give to :meth:`seal_reply`."""
        return self._open(_REQUEST, payload), payload[:MAC_BYTES]

    def seal_reply(self, packet: Packet, proof: bytes) -> bytes:
        """A frame that answers the request with this *proof* and no other."""
        return frame(self._seal(_REPLY + proof, packet))

    def open_reply(self, payload: bytes, proof: bytes) -> Packet:
        """The packet that answers my request."""
        return self._open(_REPLY + proof, payload)

    def _seal(self, channel: bytes, packet: Packet) -> bytes:
        payload = encode(packet)
        return self._mac(channel, payload) + payload

    def _open(self, channel: bytes, data: bytes) -> Packet:
        mac, payload = data[:MAC_BYTES], data[MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(channel, payload)):
            raise TrustError("the packet's MAC is wrong")
        return decode(payload, Packet, bytes_max=FRAME_BYTES_MAX)

    def _mac(self, channel: bytes, payload: bytes) -> bytes:
        prefix = b"p2pgossip/1 %d %s %s " % (len(channel), channel, self._cell)
        return hmac.digest(self._key, prefix + payload, hashlib.sha256)[:MAC_BYTES]
