"""Keys are moved offline whole, and a kill or a bad medium loses none."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from p2pdeploy.errors import ConfigError, IntegrityError, RefusedError
from p2pdeploy.trust import key_files
from p2pdeploy.trust.key_files import KEY_ROLES, export_offline, key_statuses
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.authority.folder import open_trust
from tests.trust_folder import add_trust


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    folder = tmp_path / "fleet"
    add_trust(folder)
    return folder


def places(folder: Path) -> dict[str, str]:
    return {key.role: key.place for key in key_statuses(folder)}


def test_every_key_of_a_new_fleet_is_here(fleet: Path) -> None:
    assert places(fleet) == {role.name: "here" for role in KEY_ROLES}


def test_a_key_taken_offline_is_gone_here_known_by_id_and_whole_there(
    fleet: Path, tmp_path: Path
) -> None:
    before = {key.role: key.key_id for key in key_statuses(fleet)}
    moved = export_offline(fleet, tmp_path / "stick", ["root", "targets"])
    assert [(key.role, key.place) for key in moved] == [("root", "offline"), ("targets", "offline")]
    assert {key.role: key.key_id for key in key_statuses(fleet)} == before
    assert not (fleet / "trust" / "keys" / "root.key").exists()
    copy = tmp_path / "stick" / "root.key"
    assert SigningKey.from_pem(copy.read_bytes(), role="root").key_id == before["root"]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700


def test_the_control_plane_goes_on_without_the_keys_that_are_offline(
    fleet: Path, tmp_path: Path
) -> None:
    export_offline(fleet, tmp_path / "stick", ["root", "targets"])
    keys = open_trust(fleet).keys
    assert {"deployer", "go", "snapshot", "timestamp"} <= keys.keys()
    assert not {"root", "targets"} & keys.keys()


def test_doing_it_again_changes_nothing(fleet: Path, tmp_path: Path) -> None:
    first = export_offline(fleet, tmp_path / "stick", ["root"])
    assert export_offline(fleet, tmp_path / "stick", ["root"]) == first


def test_a_kill_between_copy_and_delete_is_finished_by_the_next_run(
    fleet: Path, tmp_path: Path
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir(mode=0o700)
    pem = (fleet / "trust" / "keys" / "root.key").read_bytes()
    (stick / "root.key").touch(mode=0o600)
    (stick / "root.key").write_bytes(pem)
    assert [key.place for key in export_offline(fleet, stick, ["root"])] == ["offline"]


def test_a_key_of_another_fleet_on_the_medium_is_not_overwritten(
    fleet: Path, tmp_path: Path
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir(mode=0o700)
    (stick / "root.key").touch(mode=0o600)
    (stick / "root.key").write_bytes(SigningKey.generate(role="root").to_pem())
    with pytest.raises(RefusedError, match="another key"):
        export_offline(fleet, stick, ["root"])
    assert places(fleet)["root"] == "here"


def test_a_folder_of_the_fleet_itself_is_not_offline(fleet: Path) -> None:
    with pytest.raises(RefusedError, match="inside the fleet"):
        export_offline(fleet, fleet / "backup", ["root"])
    assert places(fleet)["root"] == "here"


def test_a_medium_that_gives_back_something_else_gets_no_key(
    fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(path: Path, data: bytes) -> None:
        path.touch(mode=0o600)
        path.write_bytes(data[:-1])

    monkeypatch.setattr(key_files, "write_private", lose)
    with pytest.raises(IntegrityError):
        export_offline(fleet, tmp_path / "stick", ["root"])
    assert places(fleet)["root"] == "here"


def test_without_a_fleet_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no keys"):
        key_statuses(tmp_path)
