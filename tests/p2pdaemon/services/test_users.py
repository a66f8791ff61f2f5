"""Each service has one user of its own, for good."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from p2pdaemon.services.users import USER_ID_MIN, USER_IDS, ServiceUser, ServiceUsers, give_folder
from p2pdeploy.errors import ConfigError, PayloadError
from p2pdeploy.ids import HostName, ServiceName
from tests.privileges import needs_root

HELLO = ServiceName("hello")
HOST = HostName("h01")


def users(path: Path, **how: object) -> ServiceUsers:
    return ServiceUsers(path, HOST, **{"is_root": True, **how})  # type: ignore[arg-type]


def test_a_service_keeps_its_user_and_shares_it_with_none(tmp_path: Path) -> None:
    table = users(tmp_path / "journal/users")
    names = [ServiceName(f"svc{number}") for number in range(40)]
    first = {name: table.user_of(name) for name in names}
    assert len({user.uid for user in first.values() if user}) == 40
    assert all(user and 0 <= user.uid - USER_ID_MIN < USER_IDS for user in first.values())
    again = users(tmp_path / "journal/users")
    assert {name: again.user_of(name) for name in reversed(names)} == first
    assert stat.S_IMODE((tmp_path / "journal/users").stat().st_mode) == 0o600


def test_a_lost_table_gives_the_same_user_again(tmp_path: Path) -> None:
    assert users(tmp_path / "a").user_of(HELLO) == users(tmp_path / "b").user_of(HELLO)
    elsewhere = ServiceUsers(tmp_path / "c", HostName("h02"), is_root=True)
    assert elsewhere.user_of(HELLO) != users(tmp_path / "a").user_of(HELLO)


def test_services_whose_names_give_the_same_number_get_different_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pdaemon.services.users.USER_IDS", 8)  # eight names surely collide
    table = users(tmp_path / "users")
    found = [table.user_of(ServiceName(f"svc{number}")) for number in range(8)]
    assert sorted(user.uid for user in found if user) == list(range(USER_ID_MIN, USER_ID_MIN + 8))


@pytest.mark.parametrize(
    "text", ["{", '{"hello": 0}', '{"hello": 1900000001, "other": 1900000001}', "[]"]
)
def test_a_damaged_table_starts_nothing(tmp_path: Path, text: str) -> None:
    """Above all none that makes a service root."""
    (tmp_path / "users").write_text(text)
    with pytest.raises(ConfigError, match="damaged table"):
        users(tmp_path / "users").user_of(HELLO)


def test_a_daemon_that_is_not_root_keeps_its_own_user(tmp_path: Path) -> None:
    table = users(tmp_path / "users", is_root=False)
    assert table.user_of(HELLO) is None
    assert not (tmp_path / "users").exists()
    with pytest.raises(PayloadError, match="only a daemon that is root"):
        table.user_of(HELLO, "daemon" if os.geteuid() != pwd.getpwnam("daemon").pw_uid else "bin")


def test_a_publisher_cannot_choose_an_account_that_the_host_does_not_allow(tmp_path: Path) -> None:
    with pytest.raises(PayloadError, match="'nobody' is not allowed here"):
        users(tmp_path / "users").user_of(HELLO, "nobody")
    allowed = users(tmp_path / "users", allowed=("nobody", "root"))
    nobody = pwd.getpwnam("nobody")
    assert allowed.user_of(HELLO, "nobody") == ServiceUser(uid=nobody.pw_uid, gid=nobody.pw_gid)
    with pytest.raises(PayloadError, match="is root"):
        allowed.user_of(HELLO, "root")
    with pytest.raises(PayloadError, match="no account"):
        allowed.user_of(HELLO, "no-such-account")


@needs_root
def test_a_state_folder_changes_hands_and_what_it_links_to_does_not(tmp_path: Path) -> None:
    outside, state = tmp_path / "precious", tmp_path / "state"
    outside.write_bytes(b"root's")
    (state / "deep").mkdir(parents=True)
    (state / "deep/data").write_bytes(b"")
    (state / "link").symlink_to(outside)
    os.link(outside, state / "hard")
    user = ServiceUser(uid=USER_ID_MIN + 7, gid=USER_ID_MIN + 7)
    give_folder(state, user)
    give_folder(state, user)
    for path in (state, state / "deep", state / "deep/data", state / "link"):
        assert path.lstat().st_uid == user.uid, path
    assert outside.stat().st_uid == 0
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
