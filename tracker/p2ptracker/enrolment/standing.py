"""Who is believed: asked before a route, a deal or an envelope is even looked at."""

from __future__ import annotations

from collections.abc import Mapping

from p2pdeploy.ids import HostName
from p2pdeploy.trust.certificates import OPERATOR_LIFETIME
from p2pdeploy.trust.identity import HostId
from p2pdeploy.trust.tls import Peer
from p2ptracker.enrolment.inventory import Inventory
from p2ptracker.storage.enrolment import Enrolment, Refusals

__all__ = ["REFUSED_FOR_S", "Standing"]


# No certificate of an operator outlives its refusal by more; a day for clocks.
REFUSED_FOR_S = OPERATOR_LIFETIME.total_seconds() + 86_400.0


class Standing:
    """The enrolment numbers that are still believed, and the certificates that are not.

    Args:
        refusals: As the database has them.
        inventory: A host that is not in it is not believed.
    """

    def __init__(self, refusals: Refusals, inventory: Inventory) -> None:
        self._inventory = inventory
        self._enrolments = {known.host: known for known in refusals.enrolments}
        self._floors = {known.host: known.floor for known in refusals.enrolments}
        self._serials = dict(refusals.serials)
        self._seq_more = 0

    def __repr__(self) -> str:
        return f"<Standing of {len(self._enrolments)} hosts, {len(self._serials)} serials refused>"

    @property
    def floors(self) -> Mapping[HostName, int]:
        """The least enrolment that is believed of a host; changes as hosts enrol."""
        return self._floors

    @property
    def enrolments(self) -> Mapping[HostName, Enrolment]:
        """Every host that ever joined with a token, or was revoked."""
        return self._enrolments

    @property
    def serials(self) -> frozenset[str]:
        """Certificates of operators that are refused, or were until they expired."""
        return frozenset(self._serials)

    def serials_to_tell(self, now: float) -> tuple[str, ...]:
        """Those that would be believed otherwise: the others have expired by *now*."""
        return tuple(sorted(s for s, at in self._serials.items() if at > now - REFUSED_FOR_S))

    @property
    def seq(self) -> int:
        """Rises with every change, because floors only rise and serials only come."""
        return self._seq_more + sum(self._floors.values()) + len(self._serials)

    def outdo(self, seq: int) -> None:
        """Have :attr:`seq` above *seq*, which a cell holds: the database is older than that."""
        self._seq_more += max(0, seq + 1 - self.seq)

    def put(self, known: Enrolment) -> None:
        """Take note of a change that is stored."""
        self._enrolments[known.host] = known
        self._floors[known.host] = max(known.floor, self._floors.get(known.host, 0))

    def refuse_serial(self, serial: str, at: float) -> None:
        """Take note of a change that is stored, made *at* seconds since the epoch."""
        self._serials.setdefault(serial, at)

    def is_believed(self, host: HostName, enrolment: int) -> bool:
        """Whether *host* is one of ours, and *enrolment* not overtaken or revoked."""
        return self._inventory.find(host) is not None and enrolment >= self._floors.get(host, 0)

    def is_out(self, host: HostName) -> bool:
        """Whether *host* was revoked and has not joined anew."""
        known = self._enrolments.get(host)
        return known is not None and known.is_revoked

    def is_revoked(self, peer: Peer) -> bool:
        """Whether the bearer of a valid certificate is to be refused nevertheless."""
        if isinstance(peer.identity, HostId):
            return not self.is_believed(peer.identity.host, peer.enrolment)
        return peer.serial in self._serials
