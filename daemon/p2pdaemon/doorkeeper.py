"""Who may connect to our swarm: the members of the cell as gossip knows them, and nobody else."""

from __future__ import annotations

from collections.abc import Callable

from p2pdeploy.gossip.effects import MemberChanged, Notice
from p2pdeploy.messages.gossip import Member
from p2pdeploy.swarm.session import Session

__all__ = ["Doorkeeper"]


class Doorkeeper:
    """Keeps the session's list of members.

    Args:
        members: The cell's members; seemingly dead ones belong to it, revoked ones do not.
        session: Is told the whole list at each change.
    """

    def __init__(self, members: Callable[[], tuple[Member, ...]], session: Session) -> None:
        self._members = members
        self._session = session

    def hear(self, effect: Notice) -> None:
        """Take note of a change of membership; called by gossip, never waits."""
        if isinstance(effect, MemberChanged):
            self.tell()

    def tell(self) -> None:
        """Say anew who is a member; a revocation is no change of membership."""
        self._session.admit(member.address for member in self._members())
