"""p2pctl auth: certificates are renewed, revoked, and told of when they end."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import click
import pytest

from p2pctl.own_certificate import warn_before_expiry
from p2pdeploy.trust.certificates import key_to_pem, new_key, signing_request
from p2pdeploy.trust.private_files import write_private
from p2ptracker.authority.create import create_trust
from p2ptracker.authority.folder import open_trust
from p2ptracker.authority.issue import issue_operator
from tests.p2pctl.operators import certificate_in, let_in, listed


def test_renewing_replaces_key_and_certificate(p2pctl, fleet: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hal"
    let_in(p2pctl, fleet, folder, "hal", "viewer")
    before = (folder / "operator" / "operator.pem").read_bytes()
    done = p2pctl("auth", "renew", "-o", "json", "--dir", folder)
    assert done.document()["roles"] == ["viewer"]
    after = (folder / "operator" / "operator.pem").read_bytes()
    assert certificate_in(folder).serial == done.document()["serial"]
    assert before.split(b"-----")[2] != after.split(b"-----")[2], "another key"
    assert p2pctl("hosts", "--dir", folder).code == 0


def test_revoking_by_name_and_by_serial(p2pctl, fleet: Path, tmp_path: Path) -> None:
    let_in(p2pctl, fleet, tmp_path / "ida", "ida", "viewer")
    let_in(p2pctl, fleet, tmp_path / "jon", "jon", "viewer")
    serial = certificate_in(tmp_path / "jon").serial
    for who in ("ida", serial.lower()):
        done = p2pctl("auth", "revoke", who, "--reason", "has left", "--dir", fleet)
        assert done.code == 0, done
    for name in ("ida", "jon"):
        done = p2pctl("hosts", "-o", "json", "--dir", tmp_path / name)
        assert done.error_code == "revoked"
        (row,) = [row for row in listed(p2pctl, fleet) if row["name"] == name]
        assert (row["state"], row["reason"]) == ("revoked", "has left")
    table = p2pctl("auth", "list", "--dir", fleet).out
    assert "operator/admin" in table
    assert "has left" in table


def test_the_last_admin_cannot_lock_the_fleet_out(p2pctl, fleet: Path) -> None:
    done = p2pctl("auth", "revoke", "admin", "--dir", fleet)
    assert done.code == 1
    assert "that is the last admin's certificate" in done.err
    assert p2pctl("auth", "list", "--dir", fleet).code == 0


def test_the_matrix_shows_who_manages_operators(p2pctl, fleet: Path) -> None:
    rows = p2pctl("auth", "matrix", "-o", "json", "--dir", fleet).document()
    roles = {(row["method"], row["path"]): row["roles"] for row in rows}
    assert roles["POST", "/v1/operators"] == ["admin"]
    assert roles["POST", "/v1/operators/revocation"] == ["admin"]
    assert "viewer" in roles["POST", "/v1/operators/renewal"]
    assert "host" not in roles["POST", "/v1/operators/renewal"]


def with_certificate(fleet: Path, folder: Path, *, issued_ago: dt.timedelta) -> Path:
    """A copy of what an operator of *fleet* has, with a certificate of that age."""
    (folder / "operator").mkdir(parents=True)
    shutil.copytree(fleet / "ca", folder / "ca")
    shutil.copy(fleet / "fleet.json", folder)
    key, now = new_key(), dt.datetime.now(dt.UTC) - issued_ago
    trust = open_trust(fleet)
    pem = issue_operator(trust, "ann", ("viewer",), signing_request(key), now=now)
    write_private(folder / "operator" / "operator.pem", key_to_pem(key) + pem)
    return folder


def test_a_certificate_that_ends_soon_is_told_on_stderr_once(
    p2pctl, fleet: Path, tmp_path: Path
) -> None:
    folder = with_certificate(fleet, tmp_path / "x", issued_ago=dt.timedelta(days=25, hours=1))
    done = p2pctl("hosts", "-o", "json", "--dir", folder)
    assert done.document() == []
    assert done.err == "p2pctl: your certificate ends in 4 days; 'p2pctl auth renew' replaces it\n"
    assert p2pctl("hosts", "--dir", fleet).err == "", "thirty days are long enough"


def test_an_expired_certificate_is_named_as_the_reason(p2pctl, fleet: Path, tmp_path: Path) -> None:
    folder = with_certificate(fleet, tmp_path / "x", issued_ago=dt.timedelta(days=31))
    done = p2pctl("hosts", "-o", "json", "--dir", folder)
    assert done.error_code == "certificate-refused"
    assert "our certificate expired at" in done.document()["error"]["message"]
    assert done.err == ""


def test_a_foreign_certificate_is_named_as_the_reason(p2pctl, fleet: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    create_trust(other, "other", now=dt.datetime.now(dt.UTC))
    shutil.copy(fleet / "fleet.json", other)
    shutil.copy(fleet / "ca" / "fleet.pem", other / "ca")
    done = p2pctl("hosts", "-o", "json", "--dir", other)
    assert done.error_code == "certificate-refused"
    message = done.document()["error"]["message"]
    assert message == "our certificate, of other, is not of this fleet"


def test_of_two_connections_of_one_command_one_warns(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = with_certificate(fleet, tmp_path / "x", issued_ago=dt.timedelta(days=29))
    certificate, now = folder / "operator" / "operator.pem", dt.datetime.now(dt.UTC)
    with click.Context(click.Command("publish")):
        for _ in range(2):
            warn_before_expiry(certificate, now=now)
    assert capsys.readouterr().err.count("your certificate ends in 23 hours") == 1
