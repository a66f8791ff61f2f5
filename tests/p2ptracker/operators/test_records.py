"""Operators on record: who was made on the machine, who changed what, and what is forgotten."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from p2pdeploy.errors import NotFoundError, TrustError
from p2pdeploy.messages.audit import AuditEntry
from p2pdeploy.messages.operators import RevocationRequest
from p2ptracker.authority.folder import open_trust
from p2ptracker.operators import rules
from p2ptracker.operators.made_here import certificates_made_here, make_operator_here
from p2ptracker.storage.operators import known_operators
from tests.p2ptracker.operators.asking import issue, keep, listed, person, renew, revoke
from tests.p2ptracker.tracker_bench import code_of, open_http

DAY_S = 86_400.0


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


async def test_whoever_was_made_before_the_start_is_in_the_audit_log_from_the_start(
    fleet_dir: Path, started
) -> None:
    """Not minutes later, when somebody first asks for the list."""
    before = dt.datetime.now(dt.UTC)
    async with started(fleet_dir) as tracker:
        answer = await tracker.http.get("/v1/audit")
        (entry,) = msgspec.json.decode(answer.content, type=list[AuditEntry])
        assert (entry.method, entry.who) == ("LOCAL", "spiffe://lab/control-plane")
        assert before - dt.timedelta(seconds=1) < entry.at < dt.datetime.now(dt.UTC)
    trust = open_trust(fleet_dir)
    make_operator_here(trust, "rescue", ("admin",), now=dt.datetime.now(dt.UTC))
    async with started(fleet_dir) as tracker:
        answer = await tracker.http.get("/v1/audit")
        entries = msgspec.json.decode(answer.content, type=list[AuditEntry])
    names = [msgspec.json.decode(entry.parameters)["name"] for entry in entries]
    assert names == ["admin", "rescue"], "each once"


def test_a_certificate_made_here_is_listed_from_when_it_was_made(fleet_dir: Path) -> None:
    """It holds from some minutes before, for clocks that are late."""
    trust, now = open_trust(fleet_dir), dt.datetime.now(dt.UTC).replace(microsecond=0)
    make_operator_here(trust, "rescue", ("admin",), now=now)
    (rescue,) = [each for each in certificates_made_here(trust) if each.name == "rescue"]
    assert rescue.issued_at == now.timestamp()


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
