"""The key under which each sender speaks, and which of its packets were heard already.

Every start of every host has a key of its own: HKDF-SHA256 (RFC 5869) of the cell key, with the
start's random salt, for (cell, epoch, sender).  So the nonce can be a plain counter.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from p2pdeploy.errors import TrustError
from p2pdeploy.limits import CELL_HOSTS_MAX
from p2pdeploy.trust.cell_keys import CELL_KEY_BYTES, CellKeys

__all__ = ["SENDERS_MAX", "WINDOW_PACKETS", "Origin", "ReplayWindow", "SenderKeys"]

# Two keys for each member of a full cell, as when a rotation or a restart of all is under way.
# About 500 bytes each.  Whoever is pushed out is derived anew, in 5 microseconds.
SENDERS_MAX = 2 * CELL_HOSTS_MAX
# A sender counts what it sends to anybody.  The busiest sends a few hundred packets a second, so
# this forgives a detour of seconds; what is older still is dropped.
WINDOW_PACKETS = 1_024
_WINDOW_MASK = (1 << WINDOW_PACKETS) - 1


class Origin(msgspec.Struct, frozen=True):
    """Whose key it is: one start of one host, in one epoch of its cell's key."""

    epoch: int
    salt: bytes
    sender: bytes


class ReplayWindow:
    """Accepts each counter once, and none that is ``WINDOW_PACKETS`` behind the highest."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = -1
        self._seen = 0  # bit n: (highest - n) was heard

    def accept(self, counter: int) -> bool:
        """True the first time; call it only with what is authenticated."""
        ahead = counter - self._highest
        if ahead > 0:
            self._seen = ((self._seen << min(ahead, WINDOW_PACKETS)) | 1) & _WINDOW_MASK
            self._highest = counter
            return True
        bit = 1 << -ahead if -ahead < WINDOW_PACKETS else 0
        if not bit or self._seen & bit:
            return False
        self._seen |= bit
        return True


class _Heard(msgspec.Struct):
    key: bytes  # not an AESGCM: that holds 2.5 KiB, and is made of the key in a microsecond
    window: ReplayWindow


class SenderKeys:
    """The keys derived from one ring, and the windows of the senders heard last.

    Only :meth:`authenticated` remembers a sender, so bytes that prove nothing take no memory.
    """

    def __init__(self, ring: CellKeys) -> None:
        self._heard: OrderedDict[Origin, _Heard] = OrderedDict()
        self.use(ring)

    def __len__(self) -> int:
        return len(self._heard)

    def use(self, ring: CellKeys) -> None:
        """Change the ring; what was heard under an epoch that both hold stays known."""
        self._cell_keys = dict(ring.keys)
        name = ring.cell.encode()
        self._purpose = b"p2pgossip/2 sender %d %s " % (len(name), name)
        for origin in [o for o in self._heard if o.epoch not in self._cell_keys]:
            del self._heard[origin]

    def key_of(self, origin: Origin) -> bytes:
        """The AES-256 key of *origin*; derived anew unless it was heard lately.

        Raises:
            TrustError: its epoch is none that is accepted.
        """
        heard = self._heard.get(origin)
        if heard is not None:
            return heard.key
        cell_key = self._cell_keys.get(origin.epoch)
        if cell_key is None:
            raise TrustError(f"gossip key epoch {origin.epoch} is not accepted")
        info = self._purpose + b"%d %d %s" % (origin.epoch, len(origin.sender), origin.sender)
        return HKDF(SHA256(), CELL_KEY_BYTES, salt=origin.salt, info=info).derive(cell_key)

    def authenticated(self, origin: Origin, key: bytes, counter: int) -> None:
        """Note a packet whose tag holds.

        Raises:
            TrustError: it was heard before, or is too old to tell (code ``replayed``).
        """
        heard = self._heard.get(origin)
        if heard is None:
            heard = self._heard[origin] = _Heard(key, ReplayWindow())
            if len(self._heard) > SENDERS_MAX:
                self._heard.popitem(last=False)
        else:
            self._heard.move_to_end(origin)
        if not heard.window.accept(counter):
            raise TrustError("the packet was heard before", code="replayed")
