from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from p2pctl.documents import UpReport
from p2pctl.lab.layout import plan_hosts, read_hosts, write_layout
from p2pctl.lab.locking import FolderLock
from p2pctl.lab.programs import Program, last_words, mark_down, programs_of, record_mode
from p2pctl.lab.readiness import RunningFleet, check_running
from p2pdeploy.errors import ConfigError, RefusedError, UnavailableError
from p2pdeploy.process_identity import ProcessIdentity, identify
from tests.trust_folder import add_trust


def program(log: Path) -> Program:
    return Program(name="h01", arguments=(), log_path=log, record_path=log.with_suffix(".json"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("one\ntwo\n\n", "two"),
        ('{"event": "daemon crashed", "level": "error"}\n', "daemon crashed"),
        ('{"event": "cannot start", "error": "disk\\nfull"}\n', "cannot start: disk full"),
        ('{"event": "x", "exception": "Traceback (most recent call last):\\n  F"}\n', "x"),
        ('Traceback (most recent call last):\n  File "a"\nValueError: bad\n', "ValueError: bad"),
        ('{"event": "torn', "(an unreadable line)"),
        ("x" * 500, "x" * 400),
    ],
)
def test_the_last_words_of_a_process_are_never_json_nor_a_traceback(
    tmp_path: Path, text: str, words: str
) -> None:
    log = tmp_path / "h01.log"
    log.write_text(text)
    assert last_words(program(log)) == words


def test_a_process_that_ended_is_told_with_its_last_words_and_its_log(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, alive=False)
    (tmp_path / "logs" / "control-plane.log").write_text('{"event": "port is taken"}\n')
    with pytest.raises(UnavailableError) as caught:
        check_running(fleet)
    assert caught.value.message == "control-plane ended: port is taken"
    assert caught.value.where == str(tmp_path / "logs" / "control-plane.log")


@pytest.mark.parametrize("alive", [True, False])
def test_down_overtaking_up_is_told_as_such(tmp_path: Path, alive: bool) -> None:
    fleet = fleet_of(tmp_path, alive=alive)
    mark_down(tmp_path)
    with pytest.raises(RefusedError, match="taken down meanwhile"):
        check_running(fleet)


def fleet_of(folder: Path, *, alive: bool) -> RunningFleet:
    """A fleet on paper whose every process is this one, or one that is gone."""
    hosts = plan_hosts("127.64.9", 1, 1)
    write_layout(folder, "127.64.9", hosts)
    record_mode(folder, detached=True)
    programs = programs_of(folder, hosts)
    this = identify(os.getpid())
    assert this is not None
    gone = ProcessIdentity(pid=this.pid, start_time_ticks=1, boot_id=this.boot_id)
    report = UpReport(dir="", api="", hosts=1, started=[], adopted=[], seconds=0.0)
    return RunningFleet(
        folder=folder,
        hosts=hosts,
        programs=programs,
        processes={each.name: this if alive else gone for each in programs},
        report=report,
    )


def test_a_refused_up_leaves_nothing_that_it_made(p2pctl, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    wrong = ("--hosts", "2", "--fault-domains", "3", "-o", "json")
    assert p2pctl("up", "--dir", folder, *wrong).code == 2
    assert not folder.exists()
    folder.mkdir()
    (folder / "trust").mkdir()
    assert p2pctl("up", "--dir", folder, *wrong).code == 2
    assert [path.name for path in folder.iterdir()] == ["trust"]


@pytest.mark.parametrize("theirs", ["mine", "logs", ".hidden"])
def test_a_folder_with_something_else_in_it_is_refused_and_left_as_it_is(
    p2pctl, tmp_path: Path, theirs: str
) -> None:
    (tmp_path / theirs).mkdir()
    tmp_path.chmod(0o755)
    done = p2pctl("up", "--dir", tmp_path, "-o", "json")
    assert (done.code, done.error_code) == (2, "folder-in-use")
    assert [path.name for path in tmp_path.iterdir()] == [theirs]
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def stopped_fleet(folder: Path) -> Path:
    """The files of a fleet of two hosts that nobody started yet."""
    add_trust(folder)
    write_layout(folder, "127.64.9", plan_hosts("127.64.9", 2, 1))
    return folder


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("tracker.toml", "address = "),
        ("fleet.json", "{"),
        ("inventory.json", "{"),
        ("inventory.json", "[]"),
        ("operator/operator.pem", None),
        ("hosts/h02/daemon.toml", "\xff"),
    ],
)
def test_a_damaged_file_is_told_before_anything_is_started(
    p2pctl, tmp_path: Path, file: str, text: str | None
) -> None:
    path = stopped_fleet(tmp_path) / file
    path.unlink()
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    done = p2pctl("up", "--detach", "--dir", tmp_path)
    assert (done.code, len(done.err.splitlines())) == (2, 1), done
    assert "internal" not in done.err
    assert not list((tmp_path / "logs").iterdir())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("address", "x"),
        ("address", "127.64.9.300"),
        ("address", "10.0.0.7"),
        ("gossip_port", 0),
        ("gossip_port", 99_999),
        ("name", "../h01"),
    ],
)
def test_an_inventory_that_cannot_be_is_told_before_anything_is_started(
    p2pctl, tmp_path: Path, field: str, value: object
) -> None:
    path = stopped_fleet(tmp_path) / "inventory.json"
    hosts = json.loads(path.read_text())
    hosts[1][field] = value
    path.write_text(json.dumps(hosts))
    done = p2pctl("up", "--detach", "--dir", tmp_path)
    assert (done.code, len(done.err.splitlines())) == (2, 1), done
    assert "inventory.json" in done.err
    assert "internal" not in done.err


def test_what_runs_after_a_failed_up_is_told_and_how_to_stop_it(p2pctl, tmp_path: Path) -> None:
    stopped_fleet(tmp_path)
    this = identify(os.getpid())
    record = programs_of(tmp_path, read_hosts(tmp_path))[1].record_path
    record.write_bytes(msgspec.json.encode(this))
    (tmp_path / "tracker.toml").write_text("address = ")
    done = p2pctl("up", "--detach", "--dir", tmp_path)
    assert done.code == 2
    assert done.err.splitlines()[0] == (
        f"still running: h01; 'p2pctl down --dir {tmp_path}' stops them"
    )


def test_a_lock_that_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with pytest.raises(ConfigError), FolderLock(tmp_path):
        raise ConfigError("refused")
    assert (tmp_path / "lock").exists()


def test_the_lock_is_free_again_after_a_refusal(tmp_path: Path) -> None:
    with FolderLock(tmp_path), pytest.raises(RefusedError, match="another 'p2pctl up'"):
        FolderLock(tmp_path)
    with FolderLock(tmp_path):
        pass
