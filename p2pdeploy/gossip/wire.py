"""Packets as bytes: a header in clear, then the packet under AES-256-GCM.

The tag covers the channel, the cell, the header and the packet, and the key is the sender's own
(:mod:`~p2pdeploy.gossip.sender_keys`).  What is of another cell, of the other channel, under a
key that is no longer accepted, by another sender than it says, heard before, or the reply to
another request, therefore fails like any forgery.

Every member holds the cell key, so this keeps strangers out and proves nothing among members:
what counts is signed inside its envelope.  ``docs/protocol/gossip.md`` says what a replayed
packet can still do.
"""

from __future__ import annotations

import struct

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from p2pdeploy.codec import decode, encode, frame
from p2pdeploy.errors import ProtocolError, TrustError
from p2pdeploy.gossip.outbox import PACKET_BYTES_MAX
from p2pdeploy.gossip.sender_keys import Origin, SenderKeys
from p2pdeploy.ids import HostName
from p2pdeploy.limits import DATAGRAM_BYTES_MAX, FRAME_BYTES_MAX
from p2pdeploy.messages.gossip import Packet
from p2pdeploy.trust.cell_keys import CellKeys

__all__ = ["COUNTER_MAX", "SALT_BYTES", "SENDER_BYTES_MAX", "TAG_BYTES", "PacketSeal"]

VERSION = 2
SALT_BYTES = 16  # two starts with the same salt would share nonces: 128 bits never meet
TAG_BYTES = 16  # GCM's full tag
SENDER_BYTES_MAX = 63  # a DNS label
# Far below what one GCM key may seal (NIST SP 800-38D); at 10,000 a second it lasts 890 years.
COUNTER_MAX = 2**48 - 1

_FIXED = struct.Struct(">BI16sQB")  # version, epoch, salt, counter, length of the sender's name
_NONCE = struct.Struct(">IQ")  # 0, counter: 96 bits
assert PACKET_BYTES_MAX + _FIXED.size + SENDER_BYTES_MAX + TAG_BYTES == DATAGRAM_BYTES_MAX, (
    "the core fills just what is left"
)

_DATAGRAM = b"datagram"
_REQUEST = b"request"
_REPLY = b"reply"


class _Header(msgspec.Struct, frozen=True):
    origin: Origin
    counter: int
    size_bytes: int


class PacketSeal:
    """Turns packets of one host into bytes, and its cell's bytes into packets.

    Every ``open`` raises ProtocolError (size or shape) or TrustError (everything else; code
    ``replayed`` for a repetition); drop the bytes, nothing was changed.

    Args:
        keys: The ring of the cell.
        sender: This host.
        salt: ``SALT_BYTES`` random bytes, never used before: new at every start of the process.
    """

    def __init__(self, keys: CellKeys, sender: HostName, salt: bytes) -> None:
        assert len(salt) == SALT_BYTES, "a salt that repeats would repeat nonces"
        assert 1 <= len(sender.encode()) <= SENDER_BYTES_MAX, "a host's name is a DNS label"
        self._cell = keys.cell
        self._sender = sender.encode()
        self._salt = salt
        self._counter = 0  # over all epochs and channels
        self._senders = SenderKeys(keys)
        self._set_sending(keys)

    @property
    def senders_known(self) -> int:
        """How many senders' keys are kept, at most ``SENDERS_MAX``."""
        return len(self._senders)

    def use(self, keys: CellKeys) -> None:
        """Seal with and accept *keys* from now on.

        Raises:
            TrustError: they are another cell's; nothing was changed.
        """
        if keys.cell != self._cell:
            raise TrustError(f"gossip keys of {keys.cell!r} for a host of {self._cell!r}")
        self._senders.use(keys)
        self._set_sending(keys)

    def _set_sending(self, keys: CellKeys) -> None:
        self._epoch = keys.sending
        origin = Origin(keys.sending, self._salt, self._sender)
        self._cipher = AESGCM(self._senders.key_of(origin))

    # --- channels ----------------------------------------------------------------------------

    def seal_datagram(self, packet: Packet) -> bytes:
        """At most ``DATAGRAM_BYTES_MAX`` for a packet that the core made."""
        return self._seal(_DATAGRAM, encode(packet))

    def open_datagram(self, data: bytes) -> Packet:
        """The packet of one datagram."""
        if len(data) > DATAGRAM_BYTES_MAX:
            raise ProtocolError(f"datagram above {DATAGRAM_BYTES_MAX} bytes")
        return self._open(_DATAGRAM, data)

    def seal_request(self, packet: Packet) -> tuple[bytes, bytes]:
        """A frame to send, and the proof that :meth:`open_reply` wants back."""
        sealed = self._seal(_REQUEST, encode(packet))
        return frame(sealed), sealed[-TAG_BYTES:]

    def open_request(self, payload: bytes) -> tuple[Packet, bytes]:
        """The packet of one frame's payload, and the proof to give to :meth:`seal_reply`."""
        return self._open(_REQUEST, payload), payload[-TAG_BYTES:]

    def seal_reply(self, packet: Packet, proof: bytes) -> bytes:
        """A frame that answers the request with this *proof* and no other."""
        return frame(self._seal(_REPLY + proof, encode(packet)))

    def open_reply(self, payload: bytes, proof: bytes) -> Packet:
        """The packet that answers my request."""
        return self._open(_REPLY + proof, payload)

    # --- one packet --------------------------------------------------------------------------

    def _seal(self, channel: bytes, payload: bytes) -> bytes:
        """Raises TrustError when the counter is used up; a new start has a new salt."""
        if self._counter >= COUNTER_MAX:
            raise TrustError("no gossip nonce is left", hint="restart the daemon")
        self._counter += 1
        fixed = _FIXED.pack(VERSION, self._epoch, self._salt, self._counter, len(self._sender))
        header = fixed + self._sender
        nonce = _NONCE.pack(0, self._counter)
        return header + self._cipher.encrypt(nonce, payload, self._context(channel, header))

    def _open(self, channel: bytes, data: bytes) -> Packet:
        header = _read_header(data)
        if header.origin.sender == self._sender:
            raise TrustError("a packet of my own came back")
        key = self._senders.key_of(header.origin)
        context = self._context(channel, data[: header.size_bytes])
        try:
            payload = AESGCM(key).decrypt(
                _NONCE.pack(0, header.counter), data[header.size_bytes :], context
            )
        except InvalidTag:
            raise TrustError("the packet's tag is wrong") from None
        self._senders.authenticated(header.origin, key, header.counter)
        packet = decode(payload, Packet, bytes_max=FRAME_BYTES_MAX)
        if packet.sender.encode() != header.origin.sender:
            raise TrustError(f"a packet of {packet.sender!r} under another sender's key")
        return packet

    def _context(self, channel: bytes, header: bytes) -> bytes:
        cell = self._cell.encode()
        return b"p2pgossip/2 %d %s %d %s %s" % (len(channel), channel, len(cell), cell, header)


def _read_header(data: bytes) -> _Header:
    if len(data) < _FIXED.size:
        raise ProtocolError("gossip packet cut short")
    version, epoch, salt, counter, sender_bytes = _FIXED.unpack_from(data)
    if version != VERSION:
        raise ProtocolError(f"gossip of version {version}, not {VERSION}")
    size_bytes = _FIXED.size + sender_bytes
    if not 1 <= sender_bytes <= SENDER_BYTES_MAX or len(data) < size_bytes + TAG_BYTES:
        raise ProtocolError("gossip packet cut short")
    if not 1 <= counter <= COUNTER_MAX:
        raise ProtocolError("gossip counter out of range")
    return _Header(Origin(epoch, salt, data[_FIXED.size : size_bytes]), counter, size_bytes)
