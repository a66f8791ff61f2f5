"""How fast one host may draw deals: within all that it may download, and its share of the uplink.

Pure.  One for all fetches of a host.  A deal is paid off before the next is asked for; what peers
bring is paid off as well, so that both together stay within the download.
"""

from __future__ import annotations

from p2pdeploy.swarm.bucket import Bucket

__all__ = ["DealPace"]

# Who was told to wait asks again within half of this, or has stopped drawing.
_WAITING_S = 6.0
# Within this every host that takes part in a rollout has asked the origin for the first time.
_NEW_S = 10.0
_DRAWING_S = 20.0  # a host that draws asks more often than this, also while it keeps to a rate


class DealPace:
    """Lets everything through until it is told rates.  Times are monotonic seconds.

    Args:
        phase: 0 to 1, another on each host: hosts that are slowed down at the same moment shall
            not all draw at the same moment.
        now: When it begins.
    """

    def __init__(self, phase: float, now: float) -> None:
        assert 0 <= phase <= 1
        self._phase = phase
        self._download, self._uplink = Bucket(now), Bucket(now)
        self._shares_uplink = False
        self._deal_bytes = 0  # what one deal of the newest fetch brings, about
        self._told_to_wait_at = float("-inf")
        self._begun_at = now
        self._drawing = (0, float("-inf"))  # how many, said when
        self.dealt_bytes = 0  # in all

    def __repr__(self) -> str:
        return f"<DealPace download {self._download!r}, uplink {self._uplink!r}>"

    def begin(self, deal_bytes: int, now: float) -> None:
        """A fetch begins whose deals bring so much each."""
        self._deal_bytes = deal_bytes
        self._begun_at = now
        self._uplink.spend(deal_bytes * self._phase, now)

    def allow(self, download: int | None, uplink: int | None, now: float) -> None:
        """From now on so many bytes per second; None: as many as there are."""
        self._download.set_rate(download, now)
        self._uplink.set_rate(uplink, now)
        if uplink is not None and not self._shares_uplink:
            self._uplink.spend(self._deal_bytes * self._phase, now)
        self._shares_uplink = uplink is not None

    def note_dealt(self, size_bytes: int, now: float) -> None:
        """So much came from the origin."""
        self.dealt_bytes += size_bytes
        self._download.spend(size_bytes, now)
        self._uplink.spend(size_bytes, now)

    def note_peers(self, size_bytes: int, now: float) -> None:
        """So much came from peers of the cell."""
        self._download.spend(size_bytes, now)

    def note_drawing(self, hosts: int, now: float) -> None:
        """The origin says how many hosts of the cell draw; 0: it does not know."""
        if hosts:
            self._drawing = (hosts, now)

    def sharers(self, alive: int, now: float) -> int:
        """By how many hosts the uplink is to be shared, of *alive* ones of the cell.

        All of them while a fetch is new or the origin is silent: when a rollout begins, the first
        to ask would each be told that they are alone.
        """
        hosts, said_at = self._drawing
        is_known = now - self._begun_at > _NEW_S and now - said_at < _DRAWING_S
        return max(hosts if is_known else alive, 1)

    def wait_s(self, now: float) -> float:
        """How long until the next deal may be asked for; it may change with every word above."""
        wait_s = max(self._download.wait_s(now), self._uplink.wait_s(now))
        if wait_s > 0:
            self._told_to_wait_at = now
        return wait_s

    def is_waiting(self, now: float) -> bool:
        """Whether somebody would draw if he might."""
        return now - self._told_to_wait_at < _WAITING_S
