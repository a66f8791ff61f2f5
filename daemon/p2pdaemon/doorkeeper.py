"""Who may connect to our swarm: the members of the cell as gossip knows them, the gateways of other
cells that this host is linked with, and nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from p2pdeploy.gossip.effects import MemberChanged, Notice
from p2pdeploy.messages.gossip import Member
from p2pdeploy.swarm.session import Session

__all__ = ["Doorkeeper"]


class Doorkeeper:
    """Keeps the session's list of those it admits.

    Args:
        members: The cell's members; seemingly dead ones belong to it, revoked ones do not.
        linked: Addresses of gateways of other cells; few, and none for most hosts.
        session: Is told the whole list at each change.
    """

    def __init__(
        self,
        members: Callable[[], tuple[Member, ...]],
        linked: Callable[[], Iterable[str]],
        session: Session,
    ) -> None:
        self._members = members
        self._linked = linked
        self._session = session

    def hear(self, effect: Notice) -> None:
        """Take note of a change of membership; called by gossip, never waits."""
        if isinstance(effect, MemberChanged):
            self.tell()

    def tell(self) -> None:
        """Say anew who is let in; neither a revocation nor another link changes membership."""
        members = (member.address for member in self._members())
        self._session.admit(members, far=self._linked())
