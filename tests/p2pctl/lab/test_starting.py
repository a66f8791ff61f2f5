from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pctl.documents import UpReport
from p2pctl.lab.layout import plan_hosts, write_layout
from p2pctl.lab.locking import FolderLock
from p2pctl.lab.programs import Program, last_words, mark_down, programs_of, record_mode
from p2pctl.lab.readiness import RunningFleet, check_running
from p2pdeploy.errors import ConfigError, RefusedError, UnavailableError
from p2pdeploy.process_identity import ProcessIdentity, identify


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
    (folder / "mine").touch()
    assert p2pctl("up", "--dir", folder, *wrong).code == 2
    assert [path.name for path in folder.iterdir()] == ["mine"]


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
