"""The files that ``p2ptracker init --address`` writes are read by those they are for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from p2pctl.fleet_dir import FleetDir
from p2pdeploy.errors import ConfigError
from p2ptracker.config import CONFIG_FILE, TrackerConfig, load_config, load_inventory
from p2ptracker.first_files import HAND_WRITTEN, missing_files, write_first_files

ADDRESS = "10.0.0.1"


def init(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "p2ptracker", "init", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_every_program_reads_its_file(tmp_path: Path) -> None:
    written = write_first_files(tmp_path, ADDRESS)

    assert [path.name for path in written] == list(HAND_WRITTEN)
    assert load_config(tmp_path) == TrackerConfig(address=ADDRESS)
    assert load_inventory(tmp_path) == ()
    fleet = FleetDir(tmp_path).read()
    assert fleet.api == f"https://{ADDRESS}:{TrackerConfig(address=ADDRESS).api_port}"
    assert f":{TrackerConfig(address=ADDRESS).announce_port}/" in fleet.announce


def test_a_key_in_a_comment_stands_with_its_default(tmp_path: Path) -> None:
    write_first_files(tmp_path, ADDRESS)
    path = tmp_path / CONFIG_FILE
    text, count = re.subn(r"^# (\w+ = )", r"\1", path.read_text(), flags=re.MULTILINE)
    path.write_text(text)

    assert count >= 5
    assert load_config(tmp_path) == TrackerConfig(address=ADDRESS)


def test_what_is_there_is_its_owners(tmp_path: Path) -> None:
    (tmp_path / "inventory.json").write_text("mine")
    write_first_files(tmp_path, ADDRESS)

    assert (tmp_path / "inventory.json").read_text() == "mine"
    assert missing_files(tmp_path) == []
    assert write_first_files(tmp_path, ADDRESS) == []


@pytest.mark.parametrize("address", ["0.0.0.0", "control-plane", "", "10.0.0.1:7400"])
def test_what_is_no_address_writes_nothing(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError) as refused:
        write_first_files(tmp_path / "fleet", address)

    assert refused.value.where == "--address"
    assert not (tmp_path / "fleet").exists()


@pytest.mark.processes
def test_init_with_an_address_leaves_nothing_to_write(tmp_path: Path) -> None:
    done = init(tmp_path / "fleet", "--address", ADDRESS)

    assert (done.returncode, done.stderr) == (0, "")
    assert missing_files(tmp_path / "fleet") == []
    for name in HAND_WRITTEN:
        assert str(tmp_path / "fleet" / name) in done.stdout


@pytest.mark.processes
def test_init_without_one_says_what_is_still_to_be_written(tmp_path: Path) -> None:
    done = init(tmp_path / "fleet")

    assert done.returncode == 0
    assert len(missing_files(tmp_path / "fleet")) == 3
    assert f"still to be written: {', '.join(HAND_WRITTEN)}" in done.stdout


@pytest.mark.processes
def test_a_bad_address_makes_no_keys(tmp_path: Path) -> None:
    done = init(tmp_path / "fleet", "--address", "0.0.0.0")

    assert (done.returncode, len(done.stderr.splitlines())) == (ConfigError.exit_code, 1)
    assert not (tmp_path / "fleet").exists()
