from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from p2pctl.cli import COMMANDS, main_group
from p2pdeploy.errors import RefusedError
from tests.trust_folder import add_trust


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys\nfrom p2pctl.cli import run\nrun(['--help'])\n"
        "slow = {'rich', 'httpx2', 'trio', 'libtorrent', 'blake3', 'msgpack', 'sqlalchemy',"
        " 'litestar', 'p2pctl.cmd_rollout'}\n"
        "print(sorted(slow & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "rollout" in done.stdout
    assert done.stderr.strip() == "[]"


def test_every_command_loads_and_its_summary_stands_in_the_help(p2pctl) -> None:
    shown = p2pctl("--help").out
    with click.Context(main_group) as context:
        for name, entry in COMMANDS.items():
            command = main_group.get_command(context, name)
            assert command is not None
            assert command.name == name
            assert entry.summary in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("hosts", "--limit", "0"),
        ("hosts", "--nonsense"),
        ("release", "show", "hello"),
        ("rollout", "nonsense"),
    ],
)
def test_a_wrong_command_line_exits_2_with_one_line(p2pctl, arguments) -> None:
    done = p2pctl(*arguments)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1


def test_a_wrong_command_line_is_a_document_with_json(p2pctl) -> None:
    done = p2pctl("hosts", "-o", "json", "--limit", "0")
    assert done.code == 2
    error = done.document()["error"]
    assert error["code"] == "usage"
    assert error["hint"] == "see 'p2pctl hosts --help'"
    assert done.err == ""


@pytest.mark.parametrize("form", [("-o", "json"), ("-ojson",), ("--output=json",)])
def test_no_fleet_named_is_a_usage_error_that_tells_how(p2pctl, form) -> None:
    done = p2pctl("hosts", *form)
    assert done.code == 2
    assert done.error_code == "no-fleet"
    assert "P2PDEPLOY_DIR" in done.document()["error"]["hint"]


def test_a_folder_without_a_fleet_names_the_folder_and_up(p2pctl, tmp_path: Path) -> None:
    done = p2pctl("--dir", tmp_path, "hosts")
    assert done.code == 2
    assert done.err == (
        f"p2pctl: {tmp_path}: there is no fleet in this folder "
        f"('p2pctl up --dir {tmp_path}' makes one)\n"
    )


def test_dir_after_the_command_wins_over_dir_before_it(p2pctl, tmp_path: Path) -> None:
    done = p2pctl("--dir", "/nowhere", "hosts", "--dir", tmp_path)
    assert str(tmp_path) in done.err


def test_the_environment_names_the_fleet(p2pctl, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("P2PDEPLOY_DIR", str(tmp_path))
    assert str(tmp_path) in p2pctl("hosts").err


def test_a_control_plane_that_is_down_is_told_with_the_folder(p2pctl, tmp_path: Path) -> None:
    add_trust(tmp_path)
    fleet = {"api": "https://127.99.99.99:7400", "announce": "", "hosts": {}}
    (tmp_path / "fleet.json").write_text(json.dumps(fleet))
    done = p2pctl("hosts", "--dir", tmp_path, "-o", "json")
    assert done.code == 1
    error = done.document()["error"]
    assert error["code"] == "control-plane-down"
    assert error["where"] == str(tmp_path)
    assert f"p2pctl up --dir {tmp_path}" in error["hint"]


@pytest.mark.parametrize(
    ("api", "code"),
    [
        ("http://127.0.0.1:7400", "config"),
        ("https://tracker.example:7400", "bad-address"),
        ("https://0.0.0.0:7400", "bad-address"),
    ],
)
def test_an_api_without_tls_or_address_is_refused(p2pctl, tmp_path: Path, api, code) -> None:
    add_trust(tmp_path)
    fleet = {"api": api, "announce": "", "hosts": {}}
    (tmp_path / "fleet.json").write_text(json.dumps(fleet))
    error = p2pctl("hosts", "--dir", tmp_path, "-o", "json").document()["error"]
    assert error["code"] == code
    assert "fleet.json: api" in error["where"]


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (RefusedError("no", where="here", hint="do that"), 1, "p2pctl: here: no (do that)\n"),
        (KeyboardInterrupt(), 130, "p2pctl: interrupted\n"),
    ],
)
def test_every_end_is_one_line_and_an_exit_code(p2pctl, monkeypatch, raised, code, text) -> None:
    monkeypatch.setattr("p2pctl.cli.main_group", _Raising(raised))
    done = p2pctl("hosts")
    assert (done.code, done.err) == (code, text)


def test_a_defect_is_one_line_that_asks_for_a_report(p2pctl, monkeypatch) -> None:
    monkeypatch.setattr("p2pctl.cli.main_group", _Raising(ValueError("two\nlines")))
    done = p2pctl("hosts")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert "internal error ValueError: two lines" in done.err
    assert "please report" in done.err
    assert "test_cli.py:" in done.err


class _Raising:
    """Stands where the commands do, to end a run in a way that no command can be made to."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def main(self, *_arguments: object, **_options: object) -> None:
        raise self._error


@pytest.mark.parametrize("arguments", [("lint", "-o", "json"), ("lint",), ("--help",)])
def test_a_full_device_is_one_line_and_exit_1(payload: Path, arguments) -> None:
    where = [str(payload)] if "lint" in arguments else []
    done = p2pctl_into("/dev/full", [*arguments, *where])
    assert (done.returncode, done.stderr) == (
        1,
        "p2pctl: cannot write the output: No space left on device\n",
    )


def test_an_error_document_that_does_not_fit_is_told_on_stderr() -> None:
    done = p2pctl_into("/dev/full", ["lint", "/nowhere", "-o", "json"])
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "No space left" in done.stderr


def test_a_reader_that_leaves_ends_a_command_quietly(payload: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = p2pctl_into(writer, ["lint", str(payload)])
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def p2pctl_into(output: str | int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run p2pctl as a process of its own, with *output* as its stdout."""
    with open(output, "w", closefd=isinstance(output, str)) as stdout:
        return subprocess.run(
            [sys.executable, "-m", "p2pctl", *arguments],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )


def test_a_folder_that_cannot_be_written_is_no_defect(p2pctl, monkeypatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/fleet/token")
    monkeypatch.setattr("p2pctl.cli.main_group", _Raising(full))
    done = p2pctl("up")
    assert done.code == 1
    assert done.err == "p2pctl: /fleet/token: cannot be written: No space left on device\n"


def test_a_file_that_is_not_where_it_should_be_is_no_defect(p2pctl, tmp_path: Path) -> None:
    done = p2pctl("keys", "generate", tmp_path / "no" / "such" / "k")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert done.err == f"p2pctl: {tmp_path}/no/such/k: No such file or directory\n"


def test_a_fleets_folder_that_is_no_text_is_refused_wherever_it_is_named(
    p2pctl, tmp_path: Path, monkeypatch
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    monkeypatch.chdir(folder)
    for words in (("up", "--dir", "new"), ("hosts", "--dir", ".")):
        done = p2pctl(*words, "-o", "json")
        assert (done.code, done.error_code) == (2, "not-text")
    assert not list(folder.iterdir())


def test_a_closed_stdout_is_one_line_and_nothing_is_done(payload: Path) -> None:
    line = f"exec {sys.executable} -m p2pctl lint {payload} >&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == ("p2pctl: stdout is closed (send it to /dev/null if nobody reads it)\n")


def test_an_argument_that_is_no_text_is_a_document_with_json() -> None:
    command = [sys.executable, "-m", "p2pctl", "publish", "x", "1", b"/tmp/\xff", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert json.loads(done.stdout)["error"]["code"] == "not-text"


def test_what_the_terminal_cannot_show_is_replaced_and_json_stays_whole() -> None:
    code = (
        "from p2pctl.output import print_json, replace_unprintable, stdout_console\n"
        "replace_unprintable()\n"
        "stdout_console().print('✔ healthy')\n"
        "print_json({'state': '✔', 'path': '/tmp/\\udcff'})\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    shown, document = done.stdout.decode("ascii").splitlines()
    assert shown == "? healthy"
    assert json.loads(document) == {"state": "✔", "path": "/tmp/\udcff"}


def test_an_interrupted_command_prints_an_error_document_with_json(p2pctl, monkeypatch) -> None:
    monkeypatch.setattr("p2pctl.cli.main_group", _Raising(KeyboardInterrupt()))
    done = p2pctl("publish", "-o", "json")
    assert (done.code, done.error_code) == (130, "interrupted")


def test_down_without_a_fleet_says_no_fleet_as_every_command(p2pctl, tmp_path: Path) -> None:
    done = p2pctl("down", "--dir", tmp_path, "-o", "json")
    assert (done.code, done.error_code) == (2, "no-fleet")
