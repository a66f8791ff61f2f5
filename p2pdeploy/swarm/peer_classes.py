"""Which limits hold for which peers of a session (shell over libtorrent's peer classes).

Every peer is in the class of all, far ones in a second one as well: what both allow is moved.
libtorrent puts a peer into its classes when it connects, so who is far is told before he may.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import libtorrent as lt

__all__ = ["FarClass"]


class FarClass:
    """The second class of *session*, libtorrent's own, which is handed in each time: whoever holds
    it keeps it from ending.
    """

    def __init__(self, session: Any) -> None:
        self._number: int = session.create_peer_class("far")
        self.tell(session, ())

    def tell(self, session: Any, addresses: Iterable[str]) -> None:
        """The hosts of other cells; holds for the connections made after it."""
        everybody = 1 << lt.session.global_peer_class_id
        classes = lt.ip_filter()
        # By default libtorrent spares peers of private networks.
        classes.add_rule("0.0.0.0", "255.255.255.255", everybody)
        for address in addresses:
            classes.add_rule(address, address, everybody | 1 << self._number)
        session.set_peer_class_filter(classes)

    def limit(self, session: Any, download_bytes_per_s: int | None) -> None:
        """Take in no more than this from far peers together; None: no limit.  Holds at once."""
        terms = session.get_peer_class(self._number)
        terms["download_limit"] = download_bytes_per_s or 0
        session.set_peer_class(self._number, terms)
