"""The fleet secret: private, stable, and a different key for each purpose."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from p2pdeploy.errors import ConfigError
from p2pdeploy.trust.secret import create_secret, derive_key, read_secret, token_matches


def test_a_secret_is_made_once_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    token = create_secret(folder)
    assert len(token) >= 43
    assert create_secret(folder) == read_secret(folder) == token
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_two_fleets_have_different_secrets(tmp_path: Path) -> None:
    assert create_secret(tmp_path / "a") != create_secret(tmp_path / "b")


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    create_secret(tmp_path)
    (tmp_path / "token").chmod(0o640)
    with pytest.raises(ConfigError, match="readable by others"):
        read_secret(tmp_path)


def test_a_missing_or_empty_secret_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as missing:
        read_secret(tmp_path)
    assert missing.value.code == "no-token"
    assert "p2pctl up" in missing.value.hint
    (tmp_path / "token").write_text("\n")
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(ConfigError, match="empty"):
        read_secret(tmp_path)


def test_a_symbolic_link_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    folder = tmp_path / "fleet"
    folder.mkdir()
    (folder / "token").symlink_to(target)
    with pytest.raises(ConfigError):
        create_secret(folder)
    assert not target.exists()


def test_each_purpose_has_a_key_of_its_own() -> None:
    keys = {derive_key("token", purpose) for purpose in ("gossip", "deal", "envelope")}
    assert len(keys) == 3
    assert derive_key("token", "deal") == derive_key("token", "deal")
    assert derive_key("another", "deal") not in keys
    assert {len(key) for key in keys} == {32}


def test_only_the_whole_token_matches() -> None:
    assert token_matches("abc", "abc")
    assert not any(token_matches(other, "abc") for other in ("", "ab", "abcd", "ABC", "äbc"))
