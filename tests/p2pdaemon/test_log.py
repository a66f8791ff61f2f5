"""The daemon's log: one line of JSON per event, and no secret, not even in a crash's traceback."""

from __future__ import annotations

import contextlib
import datetime
import json

import pytest

from p2pdaemon import log
from p2pdaemon.log import configure_log, get_logger
from p2pdeploy.errors import ConfigError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "daemon.log"
    configure_log(path)
    yield path
    assert log._file is not None
    log._file.close()
    configure_log(None)


def test_a_full_disk_loses_the_line_and_ends_nothing(monkeypatch):
    full = open("/dev/full", "w")  # noqa: SIM115 closing it fails too, as `with` would
    monkeypatch.setattr(log, "_file", full)
    for _ in range(3):
        get_logger("stage").warning("task failed", reason="the disk is full" * 1_000)
    with pytest.raises(OSError, match="No space"):
        full.write("x" * 100_000)
    with contextlib.suppress(OSError):
        full.close()


def test_an_entry_has_its_part_its_fields_and_the_time_in_utc(path):
    get_logger("change").bind(service="hello").warning("change failed", code="unhealthy")
    [line] = path.read_text().splitlines()
    entry = json.loads(line)
    written_at = datetime.datetime.fromisoformat(entry.pop("timestamp"))
    assert written_at.utcoffset() == datetime.timedelta()
    assert abs(datetime.datetime.now(datetime.UTC) - written_at) < datetime.timedelta(minutes=1)
    assert entry == {
        "part": "change",
        "service": "hello",
        "event": "change failed",
        "level": "warning",
        "code": "unhealthy",
    }


def test_binding_fields_leaves_the_logger_it_came_from_alone(path):
    logger = get_logger("stage")
    logger.bind(service="hello")
    logger.info("staged")
    assert "service" not in json.loads(path.read_text())


def test_hostile_text_can_forge_no_second_entry_and_reaches_no_terminal_raw(path):
    get_logger("control").info("order refused", error='x\n{"event": "all is well"}\x1b[2J')
    [line] = path.read_text().splitlines()
    assert "\x1b" not in line


def test_a_field_that_is_no_json_is_written_all_the_same(path):
    get_logger("stage").error("staged tree differs", where=path)
    assert str(path) in json.loads(path.read_text())["where"]


def test_a_log_that_cannot_be_opened_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be opened"):
        configure_log(tmp_path)


def test_without_a_path_the_log_is_standard_error(capsys):
    get_logger("daemon").info("daemon runs")
    assert json.loads(capsys.readouterr().err)["event"] == "daemon runs"


def test_a_traceback_names_the_lines_but_no_local_variable(path):
    def crash(token: str) -> None:
        raise RuntimeError(f"a secret of {len(token)} characters is wrong")

    try:
        crash("-".join(["do", "not", "tell"]))
    except RuntimeError:
        get_logger("isolate").exception("task crashed")
    text = path.read_text()
    assert "a secret of 11 characters" in json.loads(text)["exception"]
    assert "in crash" in text
    assert "do-not-tell" not in text
