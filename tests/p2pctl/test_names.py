from __future__ import annotations

from pathlib import Path

import pytest

from tests.trust_folder import add_trust


@pytest.mark.parametrize("bad", ["", ".", "..", "../hosts", "a/b", "a b", "a?b", "a%2fb", "é"])
@pytest.mark.parametrize(
    "command",
    [
        ("rollout", "get", "{}"),
        ("rollout", "pause", "{}"),
        ("rollout", "excuse", "latest", "{}", "--reason", "x"),
        ("rollout", "why", "latest", "--host", "{}"),
        ("rollout", "history", "{}"),
        ("logs", "{}", "hello"),
        ("logs", "h01", "{}"),
        ("cache", "show", "{}"),
        ("cache", "prune", "{}"),
        ("fleet", "versions", "{}"),
        ("release", "show", "{}", "1.0.0"),
        ("publish", "{}", "1.0.0", "tree"),
    ],
)
def test_what_cannot_stand_in_a_url_is_a_usage_error(p2pctl, command, bad) -> None:
    done = p2pctl(*(bad if word == "{}" else word for word in command), "-o", "json")
    assert (done.code, done.error_code) == (2, "usage")


@pytest.mark.parametrize(
    ("version", "words"),
    [("a b", "illegal characters"), ("1" * 200, "too long; it has at most 128")],
)
@pytest.mark.parametrize(
    "command",
    [
        ("rollout", "apply", "hello"),
        ("release", "show", "hello"),
        ("release", "sign", "hello"),
        ("fleet", "where", "hello"),
    ],
)
def test_what_is_no_version_is_a_wrong_command_line(p2pctl, command, version, words) -> None:
    done = p2pctl(*command, version)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert words in done.err


def test_names_are_checked_before_the_fleet_is_looked_for(p2pctl) -> None:
    assert "is no name" in p2pctl("rollout", "get", "..").err
    assert "no fleet named" in p2pctl("rollout", "get", "r-1.2_3").err


@pytest.mark.parametrize("character", ["x", "/"])
def test_a_name_too_long_is_told_with_its_limit_and_not_echoed_whole(p2pctl, character) -> None:
    done = p2pctl("rollout", "get", character * 5_000)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "80 characters" in done.err
    assert character * 80 in done.err
    assert character * 81 not in done.err


def test_a_name_of_80_characters_is_one(p2pctl) -> None:
    assert "no fleet named" in p2pctl("rollout", "get", "x" * 80).err


@pytest.fixture
def silent_fleet(tmp_path: Path) -> Path:
    """Where nobody listens: a command that asks ends with control-plane-down."""
    add_trust(tmp_path)
    (tmp_path / "fleet.json").write_text(
        '{"api": "https://127.99.99.99:7400", "announce": "", "hosts": {}}'
    )
    return tmp_path


@pytest.mark.parametrize(("length", "code"), [(161, "usage"), (160, "control-plane-down")])
def test_a_reason_has_160_characters_at_most(p2pctl, silent_fleet: Path, length, code) -> None:
    excuse = ("rollout", "excuse", "r1", "h01", "--reason", "x" * length, "-o", "json")
    done = p2pctl(*excuse, "--dir", silent_fleet)
    error = done.document()["error"]
    assert error["code"] == code
    if code == "usage":
        assert done.code == 2
        assert error["message"].endswith("--reason: 161 characters; it may have 160")
