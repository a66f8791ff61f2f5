"""Certificates of people and jobs, asked for over real connections; attacks included."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import httpx2
import msgspec
import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from p2pdeploy.codec import decode
from p2pdeploy.errors import NotFoundError, TrustError
from p2pdeploy.messages.audit import AuditEntry
from p2pdeploy.messages.enrolment import CELL_TRUST_BYTES_MAX, CellTrust
from p2pdeploy.messages.operators import (
    IssuedOperator,
    IssueRequest,
    RenewalRequest,
    RevocationRequest,
)
from p2pdeploy.trust.certificates import key_to_pem, new_key, signing_request
from p2pdeploy.trust.envelope import open_envelope
from p2pdeploy.trust.identity import OperatorId
from p2pdeploy.trust.operator_certificate import operator_certificate
from p2pdeploy.trust.revocations import REFUSED_SERIALS_MAX, Revocations
from p2pdeploy.trust.tls import Peer
from p2ptracker.authority.folder import open_trust
from p2ptracker.enrolment.inventory import Inventory
from p2ptracker.enrolment.standing import REFUSED_FOR_S, Standing
from p2ptracker.operators import rules
from p2ptracker.operators.made_here import make_operator_here
from p2ptracker.storage.enrolment import Refusals, refuse_serial
from p2ptracker.storage.operators import known_operators
from tests.p2ptracker.operators.asking import (
    code_of,
    issue,
    keep,
    listed,
    person,
    renew,
    revoke,
)
from tests.p2ptracker.tracker_bench import CELL, open_http

DAY_S = 86_400.0


def request_that_says(name: str, *roles: str) -> bytes:
    """A signing request with names of its own, which ours never have."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    attributes += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, role) for role in roles]
    uri = x509.UniformResourceIdentifier(f"spiffe://lab/operator/{name}")
    builder = x509.CertificateSigningRequestBuilder(x509.Name(attributes)).add_extension(
        x509.SubjectAlternativeName([uri]), critical=False
    )
    request = builder.sign(new_key(), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def issued_in(answer: httpx2.Response) -> IssuedOperator:
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=IssuedOperator)


def peer_of_admin(tracker) -> Peer:
    serial = operator_certificate(tracker.identity.certificate.read_bytes()).serial
    return Peer(identity=OperatorId("lab", "admin"), roles=("admin",), serial=serial)


# -- issuing -----------------------------------------------------------------------------------


async def test_an_admin_gives_roles_that_the_api_then_honours(tracker) -> None:
    async with person(tracker, "ann", "viewer", "publisher:hello") as ann:
        assert (await ann.http.get("/v1/hosts")).status_code == 200
        assert (await ann.http.post("/v1/releases/hello/9")).status_code == 400  # no body
        assert code_of(await ann.http.post("/v1/releases/api/9")) == (403, "forbidden")
    found = operator_certificate(ann.issued.certificate_pem)
    assert found.identity == OperatorId("lab", "ann")
    assert found.roles == ("viewer", "publisher:hello")


async def test_the_list_says_who_has_what_from_whom_and_for_how_long(tracker) -> None:
    async with person(tracker, "ann", "viewer", days=3) as ann:
        rows = {row.name: row for row in await listed(tracker.http)}
    assert set(rows) == {"admin", "ann"}
    assert rows["admin"].issued_by == "spiffe://lab/control-plane"
    assert rows["admin"].roles == ("admin",)
    row = rows["ann"]
    assert (row.serial, row.state) == (ann.issued.serial, "valid")
    assert row.issued_by == "spiffe://lab/operator/admin"
    assert row.expires_at - row.issued_at == dt.timedelta(days=3)


async def test_nobody_but_an_admin_issues_lists_or_revokes(tracker) -> None:
    async with person(tracker, "ann", "viewer", "publisher:*", "rollout-owner") as ann:
        assert code_of(await issue(ann.http, "eve", "viewer")) == (403, "forbidden")
        assert code_of(await revoke(ann.http, name="admin")) == (403, "forbidden")
        assert code_of(await ann.http.get("/v1/operators")) == (403, "forbidden")


@pytest.mark.parametrize(
    ("roles", "code"),
    [
        (("root",), "unknown-role"),
        (("Admin",), "unknown-role"),
        (("publisher:",), "unknown-role"),
        (("publisher:a/b",), "unknown-role"),
        (("viewer", "admin "), "unknown-role"),
        ((), "no-role"),
    ],
)
async def test_an_unknown_role_is_told_in_one_line(tracker, roles: tuple[str, ...], code) -> None:
    answer = await issue(tracker.http, "ann", *roles)
    assert code_of(answer) == (409, code)
    assert answer.json()["error"]["hint"] == (
        "roles are viewer, publisher:SERVICE, publisher:*, rollout-owner and admin"
    )
    assert [row.name for row in await listed(tracker.http)] == ["admin"]


@pytest.mark.parametrize("name", ["", "Ann", "a/b", "..", "a" * 64, "0123456789abcdef"])
async def test_a_name_is_a_label_and_no_serial_number(tracker, name: str) -> None:
    assert (await issue(tracker.http, name, "viewer")).status_code in (400, 409)


async def test_a_certificate_for_more_than_a_month_is_refused(tracker) -> None:
    assert code_of(await issue(tracker.http, "ann", "viewer", days=31)) == (400, "bad-request")


async def test_roles_smuggled_into_the_signing_request_count_for_nothing(tracker) -> None:
    request = request_that_says("admin", "admin")
    issued = issued_in(await issue(tracker.http, "mallory", "viewer", request=request))
    found = operator_certificate(issued.certificate_pem)
    assert (found.identity.name, found.roles) == ("mallory", ("viewer",))


async def test_a_request_for_the_name_of_another_is_refused(tracker) -> None:
    async with person(tracker, "ann", "viewer") as ann:
        assert code_of(await issue(tracker.http, "ann", "viewer")) == (409, "operator-exists")
        assert (await ann.http.get("/v1/hosts")).status_code == 200
    assert [row.name for row in await listed(tracker.http)].count("ann") == 1


async def test_a_replacement_takes_the_older_certificates_back_at_once(tracker) -> None:
    async with person(tracker, "ann", "viewer", "rollout-owner") as before:
        async with person(tracker, "ann", "viewer", replaces=True) as after:
            assert code_of(await before.http.get("/v1/hosts")) == (401, "revoked")
            assert (await after.http.get("/v1/hosts")).status_code == 200
        states = {row.serial: row.state for row in await listed(tracker.http)}
    assert states[before.issued.serial] == "revoked"
    assert states[after.issued.serial] == "valid"


async def test_names_are_bounded(tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "NAMES_MAX", 2)
    async with person(tracker, "ann", "viewer"):
        assert code_of(await issue(tracker.http, "bob", "viewer")) == (409, "too-many-operators")


# -- renewing ----------------------------------------------------------------------------------


async def test_anybody_renews_for_itself_with_another_key(tracker) -> None:
    key = new_key()
    async with person(tracker, "ann", "viewer", "publisher:hello", days=5) as ann:
        renewed = issued_in(await renew(ann.http, request=signing_request(key)))
    assert (renewed.name, renewed.roles) == ("ann", ("viewer", "publisher:hello"))
    assert renewed.serial != ann.issued.serial
    assert renewed.expires_at >= ann.issued.expires_at, "as long as the one before"
    assert renewed.expires_at - ann.issued.expires_at < dt.timedelta(minutes=5)
    files = keep(
        tracker.folder, key_to_pem(key) + renewed.certificate_pem, tracker.identity.authority
    )
    async with open_http(files, tracker.ports.api) as http:
        assert (await http.get("/v1/hosts")).status_code == 200


async def test_the_first_admin_renews_too(tracker) -> None:
    assert issued_in(await renew(tracker.http)).roles == ("admin",)


async def test_a_viewer_does_not_renew_into_an_admin(tracker) -> None:
    async with person(tracker, "eve", "viewer") as eve:
        for more in ({"roles": ["admin"]}, {"name": "admin"}):
            assert code_of(await renew(eve.http, **more)) == (400, "bad-request")
        renewed = issued_in(await renew(eve.http, request=request_that_says("admin", "admin")))
    found = operator_certificate(renewed.certificate_pem)
    assert (found.identity.name, found.roles) == ("eve", ("viewer",))


async def test_a_host_gets_no_operators_certificate(tracker) -> None:
    http = tracker.as_host("h01")
    assert code_of(await issue(http, "mallory", "admin")) == (403, "forbidden")
    assert code_of(await renew(http)) == (403, "forbidden")


async def test_a_revoked_operator_does_not_renew(tracker) -> None:
    async with person(tracker, "ann", "viewer") as ann:
        assert code_of(await revoke(tracker.http, name="ann")) == (200, "")
        assert code_of(await renew(ann.http)) == (401, "revoked")


async def test_a_renewal_that_passed_the_guard_before_the_revocation_gets_nothing(tracker) -> None:
    async with person(tracker, "ann", "viewer") as ann:
        pass
    await revoke(tracker.http, name="ann")
    peer = Peer(identity=OperatorId("lab", "ann"), roles=("viewer",), serial=ann.issued.serial)
    with pytest.raises(TrustError) as refused:
        await tracker.plane.operators.renew(
            RenewalRequest(request=signing_request(new_key())), peer
        )
    assert refused.value.code == "revoked"


async def test_a_certificate_that_is_not_on_record_is_not_renewed(tracker) -> None:
    peer = Peer(identity=OperatorId("lab", "ann"), roles=("admin",), serial="AB" * 20)
    with pytest.raises(TrustError) as refused:
        await tracker.plane.operators.renew(
            RenewalRequest(request=signing_request(new_key())), peer
        )
    assert refused.value.code == "unknown-certificate"


async def test_renewals_of_one_name_are_bounded(tracker) -> None:
    async with person(tracker, "ann", "viewer") as ann:
        for _ in range(rules.CERTIFICATES_PER_NAME_MAX - 1):
            assert code_of(await renew(ann.http)) == (200, "")
        assert code_of(await renew(ann.http)) == (409, "too-many-certificates")
    assert len(await listed(tracker.http)) == 1 + rules.CERTIFICATES_PER_NAME_MAX


async def test_a_malformed_signing_request_is_refused_and_leaves_nothing(tracker) -> None:
    answer = await issue(tracker.http, "ann", "viewer", request=b"garbage")
    assert answer.status_code == 401
    assert [row.name for row in await listed(tracker.http)] == ["admin"]


# -- revoking ----------------------------------------------------------------------------------


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


# -- on the machine, and on record -------------------------------------------------------------


async def test_an_admin_made_on_the_machine_gets_in_and_is_listed(tracker) -> None:
    """When nobody is left who could ask; the control plane runs on."""
    trust = open_trust(tracker.folder)
    pem = make_operator_here(trust, "rescue", ("admin",), now=dt.datetime.now(dt.UTC))
    files = keep(tracker.folder, pem, tracker.identity.authority)
    async with open_http(files, tracker.ports.api) as rescue:
        rows = {row.name: row.issued_by for row in await listed(rescue)}
        assert rows["rescue"] == "spiffe://lab/control-plane"
        assert code_of(await revoke(rescue, name="admin")) == (200, "")
        assert code_of(await renew(rescue)) == (200, "")


async def test_a_foreign_certificate_in_the_folder_is_not_taken_on_record(
    tracker, tmp_path: Path
) -> None:
    from p2ptracker.authority.create import create_trust

    other = create_trust(tmp_path / "other", "lab", now=dt.datetime.now(dt.UTC))
    make_operator_here(other, "mallory", ("admin",), now=dt.datetime.now(dt.UTC))
    for path in (tmp_path / "other" / "trust" / "operators").iterdir():
        target = tracker.folder / "trust" / "operators" / path.name
        target.touch(mode=0o600)
        target.write_bytes(path.read_bytes())
    (tracker.folder / "trust" / "operators" / "x.pem").touch(mode=0o600)
    assert [row.name for row in await listed(tracker.http)] == ["admin"]


async def test_every_change_goes_on_record(tracker) -> None:
    async with person(tracker, "ann", "viewer") as ann:
        await renew(ann.http)
        await revoke(tracker.http, name="ann", reason="has left")
        await renew(ann.http)
    answer = await tracker.http.get("/v1/audit")
    entries = msgspec.json.decode(answer.content, type=list[AuditEntry])
    done = [(e.step, e.who.rpartition("/")[2], e.path.rpartition("/")[2]) for e in entries]
    assert [each for each in done if each[0] != "begun"] == [
        ("done", "control-plane", "operators"),  # who init made
        ("done", "admin", "operators"),
        ("done", "ann", "renewal"),
        ("done", "admin", "revocation"),
        ("refused", "ann", "renewal"),
    ]
    assert '"has left"' in next(
        e.parameters for e in entries if e.path.endswith("revocation") and e.of
    )


async def test_what_expired_long_ago_is_forgotten(tracker) -> None:
    async with person(tracker, "ann", "viewer", days=1):
        pass
    now = tracker.plane.operators._clock()
    tracker.plane.operators._clock = lambda: now + 32 * DAY_S
    assert code_of(await issue(tracker.http, "bob", "viewer")) == (200, "")
    known = await tracker.plane.database.read(known_operators)
    assert {each.name for each in known} == {"bob", "admin"}


def test_the_newest_certificate_is_found_among_expired_ones() -> None:
    old = rules.Issued(
        serial="A", name="ann", roles=("viewer",), issued_at=0, expires_at=10, issued_by="x"
    )
    assert rules.require_issuable([old], "ann", replaces=False, now=20) == frozenset()
    with pytest.raises(NotFoundError):
        rules.chosen([old], RevocationRequest(name="ann"), now=20)
    with pytest.raises(TrustError) as refused:
        rules.require_renewable([old], "A", now=20)
    assert refused.value.code == "expired"
