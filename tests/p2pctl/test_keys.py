"""``p2pctl keys``: what is where, and moving keys offline."""

from __future__ import annotations

from pathlib import Path

from tests.trust_folder import add_trust


def test_status_lists_every_key_and_what_a_thief_could_do(p2pctl, tmp_path: Path) -> None:
    add_trust(tmp_path)
    done = p2pctl("keys", "status", "--folder", "--dir", tmp_path)
    assert done.code == 0
    assert "root" in done.out
    assert "offline" in done.out
    document = p2pctl("keys", "status", "--folder", "--dir", tmp_path, "-o", "json").document()
    assert {key["role"] for key in document} >= {"root", "targets", "deployer", "go", "enrol"}


def test_export_moves_what_belongs_offline(p2pctl, tmp_path: Path) -> None:
    add_trust(tmp_path / "fleet")
    stick = tmp_path / "stick"
    done = p2pctl("keys", "export-offline", stick, "--dir", tmp_path / "fleet", "-o", "json")
    assert [(key["role"], key["place"]) for key in done.document()] == [
        ("root", "offline"),
        ("targets", "offline"),
    ]
    assert sorted(path.name for path in stick.iterdir()) == ["root.key", "targets.key"]


def test_a_key_that_belongs_online_is_not_moved(p2pctl, tmp_path: Path) -> None:
    add_trust(tmp_path)
    done = p2pctl("keys", "export-offline", tmp_path / "x", "--role", "go", "--dir", tmp_path)
    assert done.code == 2
    assert "root, targets" in done.err


def test_a_folder_without_keys_is_one_line(p2pctl, tmp_path: Path) -> None:
    done = p2pctl("keys", "status", "--folder", "--dir", tmp_path)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
