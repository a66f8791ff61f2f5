"""``p2pctl auth``: from a request to a folder that works, and what people are told."""

from __future__ import annotations

import datetime as dt
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from p2pctl.cli import main_group
from p2pctl.operator_folder import authority_of
from p2pctl.own_certificate import warn_before_expiry
from p2pdeploy.messages.operators import OperatorPass, OperatorRequest
from p2pdeploy.trust.certificates import key_to_pem, new_key, signing_request
from p2pdeploy.trust.operator_certificate import key_fingerprint, operator_certificate
from p2pdeploy.trust.private_files import write_private
from p2ptracker.authority.create import create_trust
from p2ptracker.authority.folder import open_trust
from p2ptracker.authority.issue import issue_operator
from tests.p2pctl.serving import make_fleet, serving


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = make_fleet(tmp_path_factory.mktemp("auth") / "fleet")
    with serving(folder):
        yield folder


def code_of(done: Any) -> str:
    """The code of the error, which must be one document."""
    return done.document()["error"]["code"]


def asked(p2pctl: Callable, folder: Path, name: str, *roles: str) -> Path:
    """The request that *name* makes in *folder*."""
    wanted = [word for role in roles for word in ("--role", role)]
    done = p2pctl("auth", "request", name, *wanted, "--out", folder)
    assert done.code == 0, done
    path = Path(done.out.strip())
    assert path == folder / f"{name}.request"
    return path


def let_in(p2pctl: Callable, fleet: Path, folder: Path, name: str, *roles: str, **more: Any) -> Any:
    """*name* has a folder that works, with what an admin said."""
    path = asked(p2pctl, folder, name, *roles)
    words = [word for role in roles for word in ("--role", role)]
    words += [word for key, value in more.items() for word in (f"--{key}", value)]
    done = p2pctl("auth", "issue", path, *words, "-y", "--dir", fleet, "-o", "json")
    assert done.code == 0, done
    accepted = p2pctl("auth", "accept", folder / f"{name}.pass", "--key", folder)
    assert accepted.code == 0, accepted
    assert accepted.out == f"export P2PDEPLOY_DIR={folder}\n"
    return done.document()


def certificate_in(folder: Path) -> Any:
    return operator_certificate((folder / "operator" / "operator.pem").read_bytes())


# -- request, issue, accept --------------------------------------------------------------------


def test_two_commands_a_side_make_somebody_new_an_operator(
    p2pctl, fleet: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "ann"
    issued = let_in(p2pctl, fleet, folder, "ann", "viewer", "publisher:hello")
    assert (issued["name"], issued["roles"]) == ("ann", ["viewer", "publisher:hello"])
    assert p2pctl("hosts", "-o", "json", "--dir", folder).document() == []
    refused = p2pctl("auth", "list", "-o", "json", "--dir", folder)
    assert code_of(refused) == "forbidden"
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
    assert code_of(p2pctl(*words)) == "operator-exists"
    assert p2pctl("hosts", "--dir", tmp_path / "one").code == 0
    assert p2pctl(*words, "--replace").code == 0
    assert code_of(p2pctl("hosts", "-o", "json", "--dir", tmp_path / "one")) == "revoked"


# -- what accept refuses -----------------------------------------------------------------------


@pytest.fixture
def waiting(p2pctl, fleet: Path, tmp_path: Path) -> tuple[Path, OperatorPass]:
    """A folder whose request was issued, and its pass; not made by way of the API."""
    folder = tmp_path / "waiting"
    path = asked(p2pctl, folder, "ann", "viewer")
    request = msgspec.json.decode(path.read_bytes(), type=OperatorRequest).request
    trust = open_trust(fleet)
    pem = issue_operator(trust, "ann", ("viewer",), request, now=dt.datetime.now(dt.UTC))
    return folder, OperatorPass(
        api="https://127.0.0.1:1",
        announce="",
        authority_pem=trust.fleet_ca.pem,
        release_root=b"",
        certificate_pem=pem,
    )


def accepted(p2pctl: Callable, folder: Path, given: OperatorPass) -> Any:
    path = folder / "given"
    path.write_bytes(msgspec.json.encode(given))
    return p2pctl("auth", "accept", path, "--key", folder)


def refuses(p2pctl: Callable, folder: Path, given: OperatorPass, words: str) -> None:
    done = accepted(p2pctl, folder, given)
    assert (done.code, len(done.err.splitlines())) == (1, 1), done
    assert words in done.err
    assert not (folder / "operator" / "operator.pem").exists()
    assert (folder / "operator" / "operator.key").exists()


def test_a_pass_for_another_key_is_refused(p2pctl, fleet: Path, waiting) -> None:
    folder, given = waiting
    trust, request = open_trust(fleet), signing_request(new_key())
    pem = issue_operator(trust, "ann", ("viewer",), request, now=dt.datetime.now(dt.UTC))
    refuses(p2pctl, folder, replaced(given, certificate_pem=pem), "for another key")


def test_a_pass_of_two_fleets_is_refused(p2pctl, tmp_path: Path, waiting) -> None:
    folder, given = waiting
    other = create_trust(tmp_path / "other", "lab", now=dt.datetime.now(dt.UTC))
    mixed = replaced(given, authority_pem=other.fleet_ca.pem)
    refuses(p2pctl, folder, mixed, "not of the fleet in the pass")


def test_a_pass_of_another_fleet_than_the_folders_is_refused(
    p2pctl, tmp_path: Path, waiting
) -> None:
    folder, given = waiting
    other = create_trust(tmp_path / "other", "lab", now=dt.datetime.now(dt.UTC))
    (folder / "ca").mkdir()
    (folder / "ca" / "fleet.pem").write_bytes(other.fleet_ca.pem)
    refuses(p2pctl, folder, given, "of another fleet than this folder")


def test_a_pass_with_another_root_of_releases_shows_in_the_number(
    p2pctl, fleet: Path, waiting
) -> None:
    folder, given = waiting
    swapped = replaced(given, release_root=b"a root of somebody else")
    assert accepted(p2pctl, folder, swapped).code == 0
    assert authority_of(folder) != authority_of(fleet)
    (folder / "ca" / "release-root.json").write_bytes(open_trust(fleet).release_root)
    assert authority_of(folder) == authority_of(fleet)


def test_a_pass_does_not_replace_the_root_of_releases(p2pctl, fleet: Path, waiting) -> None:
    folder, given = waiting
    (folder / "ca").mkdir()
    known = open_trust(fleet).release_root
    (folder / "ca" / "release-root.json").write_bytes(known)
    swapped = replaced(given, release_root=b"a root of somebody else")
    refuses(p2pctl, folder, swapped, "another root of releases")
    assert accepted(p2pctl, folder, replaced(given, release_root=known)).code == 0


def test_an_expired_pass_is_refused(p2pctl, fleet: Path, waiting) -> None:
    folder, given = waiting
    request = msgspec.json.decode((folder / "ann.request").read_bytes(), type=OperatorRequest)
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=31)
    pem = issue_operator(open_trust(fleet), "ann", ("viewer",), request.request, now=long_ago)
    refuses(p2pctl, folder, replaced(given, certificate_pem=pem), "expired")


@pytest.mark.parametrize("text", [b"", b"{}", b"[" * 50_000, b"\xff", b"x" * 200_000])
def test_what_is_no_pass_is_told_in_one_line(p2pctl, waiting, text: bytes) -> None:
    folder, _ = waiting
    (folder / "given").write_bytes(text)
    for words in (("accept", folder / "given", "--key", folder), ("issue", folder / "given")):
        done = p2pctl("auth", *words, *(() if words[0] == "accept" else ("--dir", folder)))
        assert (done.code, len(done.err.splitlines())) == (2, 1), done


def replaced(given: OperatorPass, **fields: Any) -> OperatorPass:
    return msgspec.structs.replace(given, **fields)


# -- renew, list, revoke -----------------------------------------------------------------------


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


def listed(p2pctl: Callable, fleet: Path) -> list[dict[str, Any]]:
    return p2pctl("auth", "list", "-o", "json", "--dir", fleet).document()


def test_revoking_by_name_and_by_serial(p2pctl, fleet: Path, tmp_path: Path) -> None:
    let_in(p2pctl, fleet, tmp_path / "ida", "ida", "viewer")
    let_in(p2pctl, fleet, tmp_path / "jon", "jon", "viewer")
    serial = certificate_in(tmp_path / "jon").serial
    for who in ("ida", serial.lower()):
        done = p2pctl("auth", "revoke", who, "--reason", "has left", "--dir", fleet)
        assert done.code == 0, done
    for name in ("ida", "jon"):
        done = p2pctl("hosts", "-o", "json", "--dir", tmp_path / name)
        assert code_of(done) == "revoked"
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


# -- expiry, and being foreign -----------------------------------------------------------------


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
    assert code_of(done) == "certificate-refused"
    assert "our certificate expired at" in done.document()["error"]["message"]
    assert done.err == ""


def test_a_foreign_certificate_is_named_as_the_reason(p2pctl, fleet: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    create_trust(other, "other", now=dt.datetime.now(dt.UTC))
    shutil.copy(fleet / "fleet.json", other)
    shutil.copy(fleet / "ca" / "fleet.pem", other / "ca")
    done = p2pctl("hosts", "-o", "json", "--dir", other)
    assert code_of(done) == "certificate-refused"
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


# -- on the control plane's machine ------------------------------------------------------------


def test_a_fleet_without_an_admin_gets_one_on_its_machine(p2pctl, fleet: Path) -> None:
    from p2ptracker.__main__ import cli

    pem = (fleet / "operator" / "operator.pem").read_bytes()
    done = CliRunner().invoke(cli, ["operator", str(fleet), "rescue", "--role", "admin"])
    assert done.exit_code == 0, done.output
    assert certificate_in(fleet).identity.name == "rescue"
    rows = {row["name"]: row["issued_by"] for row in listed(p2pctl, fleet)}
    assert rows["rescue"] == "spiffe://lab/control-plane"
    write_private(fleet / "operator" / "operator.pem", pem)
