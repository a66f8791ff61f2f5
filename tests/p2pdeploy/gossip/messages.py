"""What hosts and the control plane tell a cell."""

from __future__ import annotations

from p2pdeploy.gossip.state import item_of
from p2pdeploy.ids import CellId, FaultDomain, HostName, ServiceName
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.gossip import Item
from p2pdeploy.messages.orders import Abort, Roster, RosterMember
from p2pdeploy.testing.gossip_world import CELL
from p2pdeploy.testing.keyring import HmacKeyring
from p2pdeploy.trust.envelope import Sealed, seal

__all__ = ["KEYS", "WEB", "a_roster", "aborted", "attested", "told"]

KEYS = HmacKeyring(b"k" * 32)
WEB = ServiceName("web")


def attested(host: str = "h01", seq: int = 1, cell: CellId = CELL, reason: str = "") -> Attestation:
    return Attestation(
        cell=cell,
        host=HostName(host),
        service=WEB,
        fault_domain=FaultDomain("fd1"),
        epoch=1,
        seq=seq,
        reason=reason,
    )


def aborted(watermark: int, reason: str = "r") -> Abort:
    return Abort(
        cell=CELL, service=WEB, watermark=watermark, rollout_seq=1, code="c", reason=reason
    )


def a_roster(hosts: int) -> Roster:
    members = tuple(RosterMember(HostName(f"h{n:04}"), n % 3, 0) for n in range(hosts))
    return Roster(cell=CELL, service=WEB, plan_seq=3, members=members)


def told(message: Sealed, key_id: str, keys: HmacKeyring = KEYS) -> Item:
    """*message* as a host holds it, sealed by the key *key_id*."""
    return item_of(message, seal(message, keys.named(key_id)))
