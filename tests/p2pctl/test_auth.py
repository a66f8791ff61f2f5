"""p2pctl auth: two commands a side make somebody new an operator."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from p2pctl.cli import main_group
from p2pdeploy.messages.operators import OperatorRequest
from p2pdeploy.trust.certificates import new_key, signing_request
from p2pdeploy.trust.operator_certificate import key_fingerprint
from p2pdeploy.trust.private_files import write_private
from tests.p2pctl.operators import asked, certificate_in, let_in, listed


def test_two_commands_a_side_make_somebody_new_an_operator(
    p2pctl, fleet: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "ann"
    issued = let_in(p2pctl, fleet, folder, "ann", "viewer", "publisher:hello")
    assert (issued["name"], issued["roles"]) == ("ann", ["viewer", "publisher:hello"])
    assert p2pctl("hosts", "-o", "json", "--dir", folder).document() == []
    refused = p2pctl("auth", "list", "-o", "json", "--dir", folder)
    assert refused.error_code == "forbidden"
    assert (folder / "ca" / "release-root.json").read_bytes() == (
        fleet / "ca" / "release-root.json"
    ).read_bytes()


def test_the_key_is_made_where_it_stays(p2pctl, fleet: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bea"
    path = asked(p2pctl, folder, "bea", "viewer")
    key = (folder / "operator" / "operator.key").read_bytes()
    assert b"PRIVATE" in key
    assert b"PRIVATE" not in path.read_bytes()
    for part in (folder / "operator", folder / "operator" / "operator.key"):
        assert not stat.S_IMODE(part.stat().st_mode) & 0o077, part
    p2pctl("auth", "issue", path, "--role", "viewer", "-y", "--dir", fleet)
    assert b"PRIVATE" not in (folder / "bea.pass").read_bytes()
    p2pctl("auth", "accept", folder / "bea.pass", "--key", folder)
    assert key in (folder / "operator" / "operator.pem").read_bytes()
    assert not (folder / "operator" / "operator.key").exists()
    assert not path.exists()


def test_a_second_request_in_the_same_folder_is_refused(p2pctl, tmp_path: Path) -> None:
    asked(p2pctl, tmp_path / "x", "ann")
    before = (tmp_path / "x" / "operator" / "operator.key").read_bytes()
    done = p2pctl("auth", "request", "bob", "--out", tmp_path / "x")
    assert (done.code, len(done.err.splitlines())) == (1, 1), done
    assert (tmp_path / "x" / "operator" / "operator.key").read_bytes() == before


def test_a_role_that_there_is_not_is_refused_where_it_is_asked_for(p2pctl, tmp_path: Path) -> None:
    done = p2pctl("auth", "request", "bob", "--role", "vieweR", "--out", tmp_path / "x")
    assert (done.code, len(done.err.splitlines())) == (1, 1), done
    assert "there is no role 'vieweR' (roles are viewer" in done.err
    assert not (tmp_path / "x").exists()


def test_request_and_accept_are_documents_with_json(p2pctl, fleet: Path, tmp_path: Path) -> None:
    out = tmp_path / "dee"
    words = ("auth", "request", "dee", "--role", "viewer", "--out", out)
    made = p2pctl(*words, "-o", "json").document()
    assert (made["name"], made["request"]) == ("dee", str(out / "dee.request"))
    again = p2pctl(*words, "-o", "json")
    assert (again.code, again.error_code) == (1, "key-exists")
    issue = ("auth", "issue", made["request"], "--role", "viewer", "-y", "--dir", fleet)
    assert f"their key   {made['key_fingerprint']}" in p2pctl(*issue).err
    accept = ("auth", "accept", out / "dee.pass", "--key", out, "-o", "json")
    accepted = p2pctl(*accept).document()
    assert (accepted["name"], accepted["roles"], accepted["dir"]) == ("dee", ["viewer"], str(out))


def test_both_sides_are_told_the_same_key(p2pctl, fleet: Path, tmp_path: Path) -> None:
    done = p2pctl("auth", "request", "cyd", "--role", "viewer", "--out", tmp_path / "cyd")
    path = tmp_path / "cyd" / "cyd.request"
    request = msgspec.json.decode(path.read_bytes(), type=OperatorRequest).request
    assert key_fingerprint(request=request) in done.err
    issued = p2pctl("auth", "issue", path, "--role", "viewer", "-y", "--dir", fleet)
    assert key_fingerprint(request=request) in issued.err


def answered(fleet: Path, path: Path, answer: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``auth issue`` at a terminal."""
    monkeypatch.setattr("p2pctl.cmd_auth_pass.is_terminal", lambda: True)
    words = ["auth", "issue", str(path), "--dir", str(fleet)]
    return CliRunner().invoke(main_group, words, input=answer)


def test_an_admin_sees_what_was_asked_and_may_say_no(
    p2pctl, fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = asked(p2pctl, tmp_path / "dan", "dan", "viewer", "rollout-owner")
    done = answered(fleet, path, "n\n", monkeypatch)
    assert done.exit_code == 1, done
    assert "asked for   viewer, rollout-owner" in done.output
    assert not (tmp_path / "dan" / "dan.pass").exists()
    assert "dan" not in {row["name"] for row in listed(p2pctl, fleet)}
    done = answered(fleet, path, "y\n", monkeypatch)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "dan" / "dan.pass").exists()


def test_roles_that_a_request_asks_for_are_not_given_unseen(
    p2pctl, fleet: Path, tmp_path: Path
) -> None:
    path = asked(p2pctl, tmp_path / "eve", "eve", "admin")
    for words in (("-y",), ()):  # nobody looked; nobody is there to look
        done = p2pctl("auth", "issue", path, *words, "--dir", fleet)
        assert done.code == 2, done
    p2pctl("auth", "issue", path, "--role", "viewer", "-y", "--dir", fleet)
    p2pctl("auth", "accept", tmp_path / "eve" / "eve.pass", "--key", tmp_path / "eve")
    assert certificate_in(tmp_path / "eve").roles == ("viewer",)


@pytest.mark.parametrize(
    ("name", "role"),
    [("ann\nwill get    viewer", "admin"), ("ann", "viewer\x1b[2Kadmin\r\nwill get    viewer")],
)
def test_a_request_does_not_write_on_the_admins_screen(
    p2pctl, fleet: Path, tmp_path: Path, name: str, role: str
) -> None:
    path = tmp_path / "x.request"
    asked = OperatorRequest(name=name, roles=(role,), request=signing_request(new_key()))
    path.write_bytes(msgspec.json.encode(asked))
    done = p2pctl("auth", "issue", path, "--role", "viewer", "-y", "--dir", fleet)
    assert "\x1b" not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith("will get")]
    assert lines in ([], ["will get    viewer, for 30 days"])


def test_a_role_that_there_is_not_is_one_clear_line(p2pctl, fleet: Path, tmp_path: Path) -> None:
    path = asked(p2pctl, tmp_path / "fay", "fay")
    done = p2pctl("auth", "issue", path, "--role", "boss", "-y", "--dir", fleet)
    assert done.code == 1
    assert "there is no role 'boss' (roles are viewer, publisher:SERVICE" in done.err


def test_a_name_that_is_in_use_is_refused_unless_it_is_replaced(
    p2pctl, fleet: Path, tmp_path: Path
) -> None:
    let_in(p2pctl, fleet, tmp_path / "one", "gil", "viewer")
    path = asked(p2pctl, tmp_path / "two", "gil", "viewer")
    words = ("auth", "issue", path, "--role", "viewer", "-y", "-o", "json", "--dir", fleet)
    assert p2pctl(*words).error_code == "operator-exists"
    assert p2pctl("hosts", "--dir", tmp_path / "one").code == 0
    assert p2pctl(*words, "--replace").code == 0
    assert p2pctl("hosts", "-o", "json", "--dir", tmp_path / "one").error_code == "revoked"


def test_a_fleet_without_an_admin_gets_one_on_its_machine(p2pctl, fleet: Path) -> None:
    from p2ptracker.__main__ import cli

    pem = (fleet / "operator" / "operator.pem").read_bytes()
    done = CliRunner().invoke(cli, ["operator", str(fleet), "rescue", "--role", "admin"])
    assert done.exit_code == 0, done.output
    assert certificate_in(fleet).identity.name == "rescue"
    rows = {row["name"]: row["issued_by"] for row in listed(p2pctl, fleet)}
    assert rows["rescue"] == "spiffe://lab/control-plane"
    write_private(fleet / "operator" / "operator.pem", pem)
