from __future__ import annotations

import errno
import json
import subprocess
import sys

import click
import pytest

from p2pdeploy.command_line import as_told, run_program
from p2pdeploy.errors import P2PDeployError, RefusedError

PROGRAMS = ["p2pdaemon", "p2ptracker", "p2psim"]


@click.group()
def cli() -> None: ...


@cli.command("fail")
@click.argument("number", type=int)
def fail(number: int) -> None:
    raise ENDS[number]


ENDS: list[BaseException] = [
    RefusedError("no", where="here", hint="do that"),
    OSError(errno.EACCES, "Permission denied", "/xx"),
    OSError(errno.ENOSPC, "No space left on device"),
    ValueError("two\nlines"),
    KeyboardInterrupt(),
    BaseExceptionGroup("", [BaseExceptionGroup("", [KeyboardInterrupt()])]),
]


@pytest.mark.parametrize(
    ("number", "code", "text"),
    [
        (0, 1, "p2pany: here: no (do that)"),
        (1, 1, "p2pany: /xx: Permission denied"),
        (2, 1, "p2pany: cannot be written: No space left on device"),
        (4, 130, "p2pany: interrupted"),
        (5, 130, "p2pany: interrupted"),
    ],
)
def test_every_end_is_one_line_and_an_exit_code(number, code, text, capsys) -> None:
    assert run_program("p2pany", cli, ["fail", str(number)]) == code
    assert capsys.readouterr().err.strip("\n") == text  # click begins a line after ^C


def test_a_defect_is_one_line_with_its_place_and_is_logged(capsys) -> None:
    logged: list[BaseException | None] = []
    code = run_program(
        "p2pany", cli, ["fail", "3"], log_defect=lambda: logged.append(sys.exc_info()[1])
    )
    said = capsys.readouterr().err
    assert code == 1
    assert len(said.splitlines()) == 1
    assert "test_command_line.py:" in said
    assert "internal error ValueError: two lines" in said
    assert "this is a defect" in said
    assert logged == [ENDS[3]]


def test_of_several_errors_ours_is_told_before_the_machines_and_those_before_a_defect() -> None:
    machine, ours = OSError(errno.EACCES, "Permission denied", "/xx"), RefusedError("no")
    assert as_told(BaseExceptionGroup("", [ValueError(), machine, ours])) is ours
    assert as_told(BaseExceptionGroup("", [ValueError(), machine])).where == "/xx"


def test_what_a_machine_does_not_do_by_itself_is_a_defect() -> None:
    assert as_told(OSError(errno.EBADF, "Bad file descriptor")).code == "internal"
    assert as_told(OSError("no errno at all")).code == "internal"
    assert isinstance(as_told(MemoryError()), P2PDeployError)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["run", "--nonsense", "x"]])
def test_a_wrong_command_line_of_every_program_is_one_line(program, arguments) -> None:
    done = run(program, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"{program}: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("folder", ["/proc/x", "/dev/null/x", "/etc/passwd/x"])
def test_a_fleet_that_cannot_be_made_there_is_one_line(folder) -> None:
    done = run("p2ptracker", "init", folder)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert folder.rpartition("/")[0] in done.stderr
    assert "internal" not in done.stderr


def test_bytes_that_are_no_text_are_refused_before_they_are_stored_or_shown() -> None:
    done = run("p2ptracker", "init", b"/tmp/\xff")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "argument 2 is not UTF-8" in done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_closed_stdout_is_no_traceback(program) -> None:
    line = f"exec {sys.executable} -m {program} --help >&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("program", "command", "arguments"),
    [
        ("p2ptracker", "init", ["x"]),
        ("p2psim", "replay", ["--seed", "0"]),
        ("p2pdaemon", "renew", ["--config", "x"]),
    ],
)
def test_a_defect_in_any_program_is_no_traceback(program, command, arguments) -> None:
    code = (
        f"import {program}.__main__ as program\n"
        f"program.cli.commands[{command!r}].callback = lambda **_: {{}}['gone']\n"
        f"program.main([{command!r}, *{arguments!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    *logged, told = done.stderr.splitlines()
    assert "internal error KeyError: 'gone'" in told
    assert all(json.loads(line)["exception"] for line in logged)


def run(program: str, *arguments: str | bytes) -> subprocess.CompletedProcess[str]:
    """Run one of our programs as a process."""
    command = [sys.executable, "-m", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
