"""An admin gives people and jobs certificates, over real connections; attacks included."""

from __future__ import annotations

import datetime as dt

import pytest

from p2pdeploy.trust.identity import OperatorId
from p2pdeploy.trust.operator_certificate import operator_certificate
from p2ptracker.operators import rules
from tests.p2ptracker.operators.asking import (
    issue,
    issued_in,
    listed,
    person,
    request_that_says,
    revoke,
)
from tests.p2ptracker.tracker_bench import code_of


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
