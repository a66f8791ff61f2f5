"""The terms of dealing: what may be asked, how time is judged, what the dealer tells (pure)."""

from __future__ import annotations

import msgspec

from p2pdeploy.errors import ProtocolError
from p2pdeploy.messages.deal import MISSING_MAX, DealRequest
from p2pdeploy.swarm.holdings import bitset_of

__all__ = [
    "TAKE_BACKS_MAX",
    "UPLINK_BYTES_PER_S_MIN",
    "WAIT_MAX_S",
    "WAIT_MIN_S",
    "DealConfig",
    "DealStatistics",
    "check_request",
]

DEAL_FACTOR_MAX = 16.0  # a megabyte: with two loops a host can draw 40 MB/s of small pieces
GROWTH_MAX = 2.0  # from one deal to the next
# Slower than 4 Mbit/s for a whole cell the origin may send first deals twice.
UPLINK_BYTES_PER_S_MIN = 500_000
WAIT_MIN_S = 0.1  # a host that must wait asks at most ten times a second
TAKE_BACKS_MAX = 4  # a daemon that is started again and again, by hand
WAIT_MAX_S = 2.0  # and stays well inside silent_s, so that it is not taken for dead


class DealConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the dealer judges time.  All in seconds except ``deals_in_flight`` and ``deal_bytes``.

    ``deals_in_flight``: unconfirmed deals one host may have; two keep its link busy while one is
    verified, more than four only make a dying host lose more.
    ``deal_bytes``: of the pieces of one deal together, when they are smaller than that, and up to
    ``DEAL_FACTOR_MAX`` times as many to a host whose deals are confirmed in less than
    ``confirm_s``: few hosts fill a link with large ones, many with small ones.
    ``deal_s``: how long the bytes of a deal should need to leave; see :mod:`p2pdeploy.swarm.turns`.
    What is on its way is what the mesh has not got yet, so little: with 16 hosts at 20 Mbit/s and
    1.5 s the origin sent 5 % again, to links that were too full, and the mesh was 1 s behind.
    ``turn_s``: how long the place of a host is kept that waited for its turn and was told to ask
    again.
    ``turn_hold_factor``: a deal holds its turn for so many times as long as deals usually take, or
    should; then others go on, and it is waited for all the same.
    ``first_deal_timeout_s``: for a host that never finished one, and what the bytes on their way
    take besides; all hosts start at once.
    ``slow_factor``: no deal is waited for longer than so many times as long as deals usually take,
    however slow its host says it is, unless ``first_deal_timeout_s`` is longer: the piece is dealt
    to another host as well.
    ``take_back_s``: how often a host may take back what it reported, after ``TAKE_BACKS_MAX``
    times at once.
    ``unclaimed_s``: how long no carrier of a stripe must have asked before others draw its pieces.
    ``cut_off_s``: how long nothing of a stripe must have come into a cell from others, while these
    have more of it, before the origin sends that; longer where a deal takes longer than a quarter.
    ``settle_s``: after the first request only bitmaps are taken in; the origin sets it when it
    was restarted in the middle of a distribution, so that it does not deal what hosts hold.
    """

    deals_in_flight: int = 4
    deal_bytes: int = 64 * 1024
    deal_s: float = 0.2
    confirm_s: float = 0.4
    turn_s: float = 6.0
    turn_hold_factor: float = 4.0
    timeout_factor: float = 4.0
    timeout_min_s: float = 2.0
    timeout_max_s: float = 60.0
    slow_factor: float = 8.0
    first_deal_timeout_s: float = 10.0
    silent_s: float = 10.0
    hint_s: float = 5.0
    unclaimed_s: float = 3.0
    cut_off_s: float = 10.0
    settle_s: float = 0.0
    take_back_s: float = 5.0

    def __post_init__(self) -> None:
        assert 2 <= self.deals_in_flight <= 4
        assert 0 < self.timeout_min_s <= self.first_deal_timeout_s <= self.timeout_max_s
        assert self.silent_s > WAIT_MAX_S * 2, "one lost request must not make a host look dead"

    def room_bytes(self, last_bytes: int, last_deal_s: float) -> int:
        """What a deal may bring to a host whose last one, of *last_bytes*, took *last_deal_s*."""
        wanted = last_bytes * min(self.confirm_s / max(last_deal_s, 1e-3), GROWTH_MAX)
        return int(min(max(wanted, self.deal_bytes), self.deal_bytes * DEAL_FACTOR_MAX))

    def timeout_s(self, last_deal_s: float, usual_s: float, underway_bytes: int) -> float:
        """How long a host has for a deal.

        Args:
            last_deal_s: What its last one took; 0 if it had none.
            usual_s: What deals usually take.
            underway_bytes: Of all deals on their way, this one included: they share one uplink.
        """
        if not last_deal_s:
            wanted_s = self.first_deal_timeout_s + underway_bytes / UPLINK_BYTES_PER_S_MIN
            return min(wanted_s, self.timeout_max_s)
        longest_s = max(self.slow_factor * usual_s, self.first_deal_timeout_s)
        wanted_s = max(self.timeout_factor * last_deal_s, self.timeout_min_s)
        return min(wanted_s, longest_s, self.timeout_max_s)

    def turn_hold_s(self, usual_s: float) -> float:
        """How long a deal keeps others waiting, at most."""
        return self.turn_hold_factor * max(self.deal_s, usual_s)


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
