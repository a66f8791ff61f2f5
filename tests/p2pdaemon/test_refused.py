"""Whom a host believes no more: the newest word counts, and floors only rise."""

from __future__ import annotations

import msgspec

from p2pdaemon.refused import Refused
from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.messages.gossip import Member
from p2pdeploy.trust.identity import ControlPlaneId, HostId, OperatorId
from p2pdeploy.trust.revocations import Revocations
from p2pdeploy.trust.tls import Peer

CELL = CellId("lab.web.c0")
H1, H2 = HostName("h1"), HostName("h2")


def said(seq: int, **more: object) -> Revocations:
    fields = {"fleet": "lab", "cell": CELL, "seq": seq, "floors": {}, "refused": {}, **more}
    return msgspec.convert(fields, Revocations)


def a_host(name: HostName, enrolment: int) -> Peer:
    return Peer(identity=HostId("lab", "lab", "web", name), enrolment=enrolment)


def test_an_older_word_changes_nothing() -> None:
    refused = Refused("lab", CELL)
    assert refused.take(said(5, floors={"h1": 3}, refused={"h1": "127.0.0.9"}))
    assert not refused.take(said(5))
    assert not refused.take(said(4))
    assert refused.hosts == {H1: "127.0.0.9"}


def test_a_floor_never_falls() -> None:
    refused = Refused("lab", CELL)
    refused.take(said(1, floors={"h1": 3}))
    refused.take(said(2, floors={"h1": 2}))
    refused.take(said(3))
    assert refused.floors == {H1: 3}


def test_another_cells_or_fleets_word_changes_nothing() -> None:
    refused = Refused("lab", CELL)
    assert not refused.take(said(1, cell="lab.web.c1"))
    assert not refused.take(said(1, fleet="other"))


def test_a_host_enrolled_anew_is_a_member_again() -> None:
    refused = Refused("lab", CELL)
    members = [
        Member(
            name=name,
            address="127.0.0.9",
            gossip_port=1,
            swarm_port=2,
            fault_domain=FaultDomain("fd0"),
        )
        for name in (H1, H2)
    ]
    refused.take(said(1, floors={"h1": 3}, refused={"h1": "127.0.0.9"}))
    assert [member.name for member in refused.believed(members)] == [H2]
    refused.take(said(2, floors={"h1": 3}))
    assert [member.name for member in refused.believed(members)] == [H1, H2]


def test_certificates_of_the_revoked_are_refused() -> None:
    refused = Refused("lab", CELL)
    refused.take(said(1, floors={"h1": 3, "h2": 2}, refused={"h1": "127.0.0.9"}, serials=("AB",)))
    assert refused.is_revoked(a_host(H1, 3)), "out until it is enrolled anew"
    assert refused.is_revoked(a_host(H2, 1)), "enrolled anew since"
    assert not refused.is_revoked(a_host(H2, 2))
    assert refused.is_revoked(Peer(identity=OperatorId("lab", "ann"), serial="AB"))
    assert not refused.is_revoked(Peer(identity=OperatorId("lab", "ann"), serial="CD"))
    assert not refused.is_revoked(Peer(identity=ControlPlaneId("lab"), serial="AB"))
