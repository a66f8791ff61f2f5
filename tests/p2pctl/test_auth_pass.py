"""p2pctl auth accept: a pass that is not the one that was asked for is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from p2pctl.operator_folder import authority_of
from p2pdeploy.messages.operators import OperatorPass, OperatorRequest
from p2pdeploy.trust.certificates import new_key, signing_request
from p2ptracker.authority.create import create_trust
from p2ptracker.authority.folder import open_trust
from p2ptracker.authority.issue import issue_operator
from tests.p2pctl.operators import asked


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


def test_who_was_killed_at_the_end_of_accepting_accepts_again(p2pctl, fleet: Path, waiting) -> None:
    folder, given = waiting
    assert accepted(p2pctl, folder, given).code == 0
    identity = (folder / "operator" / "operator.pem").read_bytes()
    assert accepted(p2pctl, folder, given).code == 0, "the key of the request is gone already"
    assert (folder / "operator" / "operator.pem").read_bytes() == identity
    trust, request = open_trust(fleet), signing_request(new_key())
    pem = issue_operator(trust, "ann", ("viewer",), request, now=dt.datetime.now(dt.UTC))
    assert accepted(p2pctl, folder, replaced(given, certificate_pem=pem)).code != 0


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
