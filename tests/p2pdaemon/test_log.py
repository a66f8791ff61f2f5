"""The daemon's log holds no secret, not even in the traceback of a crash."""

from __future__ import annotations

import json

import pytest
import structlog

from p2pdaemon.log import configure_log


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "daemon.log"
    before = structlog.get_config()
    configure_log(path)
    file = structlog.get_config()["logger_factory"]._file
    yield path
    structlog.configure(**before)
    file.close()


def test_a_traceback_names_the_lines_but_no_local_variable(log):
    def crash(token: str) -> None:
        raise RuntimeError(f"a secret of {len(token)} characters is wrong")

    try:
        crash("-".join(["do", "not", "tell"]))
    except RuntimeError:
        structlog.get_logger().exception("task crashed")
    text = log.read_text()
    assert "a secret of 11 characters" in json.loads(text)["exception"]
    assert "in crash" in text
    assert "do-not-tell" not in text
