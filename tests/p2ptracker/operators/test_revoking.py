"""Operators' certificates are taken back at once, and not everybody's."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from p2pdeploy.codec import decode
from p2pdeploy.errors import TrustError
from p2pdeploy.messages.enrolment import CELL_TRUST_BYTES_MAX, CellTrust
from p2pdeploy.messages.operators import IssueRequest, RevocationRequest
from p2pdeploy.trust.certificates import key_to_pem, new_key, signing_request
from p2pdeploy.trust.envelope import open_envelope
from p2pdeploy.trust.identity import OperatorId
from p2pdeploy.trust.operator_certificate import operator_certificate
from p2pdeploy.trust.revocations import REFUSED_SERIALS_MAX, Revocations
from p2pdeploy.trust.tls import Peer
from p2ptracker.enrolment.inventory import Inventory
from p2ptracker.enrolment.standing import REFUSED_FOR_S, Standing
from p2ptracker.storage.enrolment import Refusals, refuse_serial
from tests.p2ptracker.operators.asking import issue, issued_in, keep, listed, person, renew, revoke
from tests.p2ptracker.tracker_bench import CELL, code_of, open_http


def peer_of_admin(tracker) -> Peer:
    serial = operator_certificate(tracker.identity.certificate.read_bytes()).serial
    return Peer(identity=OperatorId("lab", "admin"), roles=("admin",), serial=serial)


async def test_all_certificates_of_a_name_are_taken_back_at_once(tracker) -> None:
    async with person(tracker, "ann", "viewer") as ann:
        renewed = issued_in(await renew(ann.http))
        answer = await revoke(tracker.http, name="ann", reason="has left")
        assert {row["serial"] for row in answer.json()} == {ann.issued.serial, renewed.serial}
        assert code_of(await ann.http.get("/v1/hosts")) == (401, "revoked")
    rows = [row for row in await listed(tracker.http) if row.name == "ann"]
    assert {(row.state, row.reason) for row in rows} == {("revoked", "has left")}
    assert set(tracker.plane.standing.serials) == {ann.issued.serial, renewed.serial}


async def test_what_a_thief_renewed_falls_with_the_certificate_that_was_stolen(tracker) -> None:
    key = new_key()
    async with person(tracker, "ann", "viewer") as stolen:
        renewed = issued_in(await renew(stolen.http, request=signing_request(key)))
    pem = key_to_pem(key) + renewed.certificate_pem
    files = keep(tracker.folder, pem, tracker.identity.authority)
    async with open_http(files, tracker.ports.api) as thief:
        assert code_of(await revoke(tracker.http, serial=stolen.issued.serial.lower())) == (200, "")
        assert code_of(await thief.get("/v1/hosts")) == (401, "revoked")


async def test_hosts_hear_of_it(tracker) -> None:
    async with person(tracker, "ann", "viewer") as ann:
        await revoke(tracker.http, name="ann")
    answer = await tracker.as_host("h01").get(f"/v1/cells/{CELL}/trust")
    trust = decode(answer.content, CellTrust, bytes_max=CELL_TRUST_BYTES_MAX)
    word = open_envelope(trust.revocations, tracker.plane.verifier)
    assert isinstance(word, Revocations)
    assert word.serials == (ann.issued.serial,)


async def test_a_revocation_survives_a_restart(fleet_dir: Path, started) -> None:
    async with started(fleet_dir) as before, person(before, "ann", "viewer") as ann:
        await revoke(before.http, name="ann")
    async with started(fleet_dir) as after:
        assert ann.issued.serial in after.plane.standing.serials
        assert {row.name: row.state for row in await listed(after.http)}["ann"] == "revoked"


async def test_the_last_admin_is_not_locked_out(tracker) -> None:
    assert code_of(await revoke(tracker.http, name="admin")) == (409, "last-admin")
    serial = peer_of_admin(tracker).serial
    assert code_of(await revoke(tracker.http, serial=serial)) == (409, "last-admin")
    answer = await issue(tracker.http, "admin", "viewer", replaces=True)
    assert code_of(answer) == (409, "last-admin")
    assert (await tracker.http.get("/v1/operators")).status_code == 200


async def test_an_admin_may_go_when_another_is_left(tracker) -> None:
    async with person(tracker, "bob", "admin") as bob:
        assert code_of(await revoke(tracker.http, name="admin")) == (200, "")
        assert code_of(await tracker.http.get("/v1/operators")) == (401, "revoked")
        assert code_of(await revoke(bob.http, name="bob")) == (409, "last-admin")


async def test_two_admins_who_revoke_each_other_at_once_leave_one(tracker) -> None:
    """Both calls have passed the guard; the second finds its caller revoked."""
    async with person(tracker, "bob", "admin") as bob:
        pass
    first, second = (
        peer_of_admin(tracker),
        Peer(identity=OperatorId("lab", "bob"), roles=("admin",), serial=bob.issued.serial),
    )
    desk = tracker.plane.operators
    await desk.revoke(RevocationRequest(name="bob"), first)
    with pytest.raises(TrustError):
        await desk.revoke(RevocationRequest(name="admin"), second)
    request = IssueRequest(name="eve", roles=("admin",), request=signing_request(new_key()))
    with pytest.raises(TrustError):
        await desk.issue(request, second)
    assert (await tracker.http.get("/v1/operators")).status_code == 200


async def test_what_there_is_not_cannot_be_revoked(tracker) -> None:
    assert code_of(await revoke(tracker.http, name="nobody")) == (404, "no-certificate")
    assert code_of(await revoke(tracker.http)) == (409, "whom")
    async with person(tracker, "ann", "viewer"):
        await revoke(tracker.http, name="ann")
        assert code_of(await revoke(tracker.http, name="ann")) == (404, "no-certificate")


async def test_no_more_is_revoked_than_hosts_are_told_of(tracker) -> None:
    """What has expired meanwhile needs no telling, so the bound is one of a month."""

    async def refuse_before(ago_s: float, first: int) -> None:
        at = tracker.plane.operators._clock() - ago_s

        def work(connection: sa.Connection) -> None:
            for number in range(first, first + REFUSED_SERIALS_MAX):
                refuse_serial(connection, f"A{number:039X}", reason="", now=at)

        await tracker.plane.database.write(work)

    async with person(tracker, "ann", "viewer"), person(tracker, "bob", "viewer"):
        await refuse_before(REFUSED_FOR_S + 1, first=0)
        assert code_of(await revoke(tracker.http, name="ann")) == (200, "")
        await refuse_before(REFUSED_FOR_S - 60, first=REFUSED_SERIALS_MAX)
        assert code_of(await revoke(tracker.http, name="bob")) == (409, "too-many-serials")
        assert {row.name: row.state for row in await listed(tracker.http)}["bob"] == "valid"


def test_hosts_are_told_of_a_refused_certificate_until_it_has_expired() -> None:
    standing = Standing(Refusals(enrolments=(), serials={"A": 1_000.0}), Inventory([]))
    standing.refuse_serial("B", 2_000.0)
    seq = standing.seq
    assert standing.serials_to_tell(2_000.0) == ("A", "B")
    assert standing.serials_to_tell(1_500.0 + REFUSED_FOR_S) == ("B",)
    assert standing.serials == {"A", "B"}
    assert standing.seq == seq
    standing.refuse_serial("A", 9_000.0)
    assert standing.serials_to_tell(1_500.0 + REFUSED_FOR_S) == ("B",), "twice is once"
