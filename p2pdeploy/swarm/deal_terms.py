"""The terms of dealing: what may be asked, how time is judged, what the dealer tells (pure)."""

from __future__ import annotations

import msgspec

from p2pdeploy.errors import ProtocolError
from p2pdeploy.messages.deal import MISSING_MAX, DealRequest
from p2pdeploy.swarm.holdings import bitset_of

__all__ = ["WAIT_MAX_S", "WAIT_MIN_S", "DealConfig", "DealStatistics", "check_request"]

DEAL_FACTOR_MAX = 8.0  # a megabyte: with two loops a host can draw 40 MB/s of small pieces
WAIT_MIN_S = 0.1  # a host that must wait asks at most ten times a second
WAIT_MAX_S = 2.0  # and stays well inside silent_s, so that it is not taken for dead


class DealConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the dealer judges time.  All in seconds except ``deals_in_flight`` and ``deal_bytes``.

    ``deals_in_flight``: unconfirmed deals one host may have; two keep its link busy while one is
    verified, more than four only make a dying host lose more.
    ``deal_bytes``: of the pieces of one deal together, when they are smaller than that, and up to
    ``DEAL_FACTOR_MAX`` times as many to a host whose deals take less than half of ``deal_s``: a
    request costs as much time as moving a quarter of it.
    ``deal_s``: how long a deal should take; see :mod:`p2pdeploy.swarm.turns`.  With 16 hosts at
    20 Mbit/s the origin's uplink was full to 92 % with 8 deals at once, to 97 % with 24.
    ``turn_s``: who waits for a turn asks again within this.
    ``first_deal_timeout_s``: for a host that never finished one; all hosts start at once.
    ``unclaimed_s``: how long no carrier of a stripe must have asked before others draw its pieces.
    ``settle_s``: after the first request only bitmaps are taken in; the origin sets it when it
    was restarted in the middle of a distribution, so that it does not deal what hosts hold.
    """

    deals_in_flight: int = 4
    deal_bytes: int = 128 * 1024
    deal_s: float = 1.5
    turn_s: float = 6.0
    timeout_factor: float = 4.0
    timeout_min_s: float = 2.0
    timeout_max_s: float = 60.0
    first_deal_timeout_s: float = 10.0
    silent_s: float = 10.0
    hint_s: float = 5.0
    unclaimed_s: float = 3.0
    settle_s: float = 0.0

    def __post_init__(self) -> None:
        assert 2 <= self.deals_in_flight <= 4
        assert 0 < self.timeout_min_s <= self.first_deal_timeout_s <= self.timeout_max_s
        assert self.silent_s > WAIT_MAX_S * 2, "one lost request must not make a host look dead"

    def room_bytes(self, last_deal_s: float) -> int:
        """What a deal may bring to a host whose last one took *last_deal_s*."""
        factor = self.deal_s / 2 / last_deal_s if last_deal_s else 1.0
        return int(self.deal_bytes * min(max(factor, 1.0), DEAL_FACTOR_MAX))

    def timeout_s(self, last_deal_s: float) -> float:
        """How long a host has for a deal whose last one took *last_deal_s*; 0 if it had none."""
        if not last_deal_s:
            return self.first_deal_timeout_s
        wanted_s = self.timeout_factor * last_deal_s
        return min(max(wanted_s, self.timeout_min_s), self.timeout_max_s)


class DealStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot.  ``deals`` counts every piece sent, ``redeals`` those sent before."""

    pieces: int
    planted: int
    held: int
    in_flight: int
    deals: int
    redeals: int
    dealt_bytes: int
    hints: int
    hosts: int
    hosts_completed: int


def check_request(request: DealRequest, piece_count: int) -> int:
    """What the host of *request* has, one bit per piece.

    Raises:
        ProtocolError: bitmap or numbers do not fit a release of *piece_count* pieces.
    """
    have = bitset_of(request.have, piece_count)
    if request.partly:
        bitset_of(request.partly, piece_count)
    for named in (request.missing, request.dropped):
        if len(named) > MISSING_MAX:
            raise ProtocolError(f"{len(named)} pieces named, at most {MISSING_MAX}")
        if any(not 0 <= piece < piece_count for piece in named):
            raise ProtocolError(f"piece outside 0 to {piece_count - 1}")
    if request.completed and have.bit_count() != piece_count:
        raise ProtocolError("a host says it is complete and its bitmap is not full")
    return have
