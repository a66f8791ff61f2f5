"""The membership table: who is in the cell and what is believed of each.

Beliefs form a semilattice: the larger (incarnation, status) wins, so tables that exchange what
they hold become equal whatever the order.  Nobody is ever removed.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from typing import TYPE_CHECKING

from blake3 import blake3

from p2pdeploy.ids import HostName
from p2pdeploy.limits import CELL_HOSTS_MAX
from p2pdeploy.messages.gossip import Member, Status

if TYPE_CHECKING:
    from random import Random

__all__ = ["UNHEARD", "MemberTable", "is_alive", "is_heard", "supersedes"]

# Drawing at random and retrying is cheaper than filtering 1,000 members, until it keeps failing.
DRAWS_PER_PICK = 4
# The incarnation of who stands in the inventory and was not heard of yet: below every word of its
# own.  It is this host's note alone, and never sent.
UNHEARD = -1


def is_alive(member: Member) -> bool:
    """Alive as far as we know; a suspect is innocent until its time is up."""
    return member.status <= Status.SUSPECT


def is_heard(member: Member) -> bool:
    """Whether anybody ever heard the host itself; a seed of the inventory may never have run."""
    return member.incarnation > UNHEARD


def supersedes(new: Member, old: Member) -> bool:
    """Whether the belief *new* replaces *old*."""
    return (new.incarnation, new.status) > (old.incarnation, old.status)


class MemberTable:
    """At most ``CELL_HOSTS_MAX`` members, myself included, in name order.

    Seeds that were not heard stand in it so that they are tried; nobody else is told of them.
    """

    def __init__(self, me: Member) -> None:
        self._me = me.name
        self._members: dict[HostName, Member] = {}
        self._names: list[HostName] = []  # sorted, so that a seed draws the same members
        self._counts = dict.fromkeys(Status, 0)
        self._digest = 0
        self.put(me)

    def __len__(self) -> int:
        return len(self._names)

    def get(self, name: HostName) -> Member | None:
        """The belief about *name*."""
        return self._members.get(name)

    def all(self) -> tuple[Member, ...]:
        """Every member in name order."""
        return tuple(self._members[name] for name in self._names)

    def heard(self) -> tuple[Member, ...]:
        """Those that may be told of, in name order."""
        return tuple(member for member in self.all() if is_heard(member))

    def count(self, status: Status) -> int:
        """How many members have *status*."""
        return self._counts[status]

    def alive_count(self) -> int:
        """How many seem alive or were not tried yet, myself included."""
        return self._counts[Status.ALIVE] + self._counts[Status.SUSPECT]

    def digest(self) -> int:
        """64 bits, equal when two tables have heard the same; never 0, which says "no table"."""
        return self._digest or 1

    def put(self, member: Member) -> bool:
        """Set the belief about one host; False if it is unknown and the table is full."""
        old = self._members.get(member.name)
        if old is None:
            if len(self._names) >= CELL_HOSTS_MAX:
                return False
            insort(self._names, member.name)
        else:
            self._counts[old.status] -= 1
            self._digest ^= _mark_of(old)
        self._members[member.name] = member
        self._counts[member.status] += 1
        self._digest ^= _mark_of(member)
        return True

    def pick(self, rng: Random, count: int, wanted: Callable[[Member], bool]) -> tuple[Member, ...]:
        """Up to *count* different random members that are *wanted*; never myself."""
        picked: dict[HostName, Member] = {}
        for _ in range(count * DRAWS_PER_PICK):
            if len(picked) == count:
                return tuple(picked.values())
            member = self._members[self._names[rng.randrange(len(self._names))]]
            if member.name != self._me and wanted(member):
                picked[member.name] = member
        rest = [m for m in self.all() if m.name != self._me and wanted(m) and m.name not in picked]
        missing = rng.sample(rest, min(count - len(picked), len(rest)))
        return (*picked.values(), *missing)

    def shuffled(self, rng: Random) -> list[HostName]:
        """The names of all others in random order: one round of probes."""
        names = [name for name in self._names if name != self._me]
        rng.shuffle(names)
        return names


def _mark_of(member: Member) -> int:
    if not is_heard(member):
        return 0
    text = f"{member.incarnation} {member.status:d} {member.name}"
    return int.from_bytes(blake3(text.encode()).digest(8), "big")
