"""Which processes a fleet consists of, and which of them run.

Each start is recorded in ``DIR/run``.  A program that somebody started by hand, with the very
command line that ``up`` uses, is found as well, by that command line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from p2pctl.lab.layout import daemon_config
from p2pctl.lab.processes import spawn
from p2pdeploy.codec import UNDECODABLE
from p2pdeploy.process_identity import ProcessIdentity, identify, is_alive
from p2pdeploy.topology import Host
from p2pdeploy.trust.private_files import write_private

__all__ = [
    "CONTROL_PLANE",
    "Program",
    "find_running",
    "forget",
    "last_words",
    "mark_down",
    "programs_of",
    "record_mode",
    "start_program",
    "was_detached",
    "was_taken_down",
]

CONTROL_PLANE = "control-plane"
_LOG_TAIL_BYTES = 64 * 1024  # a logged traceback is one line of some KiB
_WORDS_MAX = 400  # characters; a line of ours with a path fits, the log has the rest
_MODE_FILE = "run/up.json"


class _Mode(msgspec.Struct, frozen=True):
    detached: bool


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a fleet.  ``arguments`` follow the Python interpreter."""

    name: str
    arguments: tuple[str, ...]
    log_path: Path
    record_path: Path


def programs_of(folder: Path, hosts: Sequence[Host]) -> list[Program]:
    """The control plane, then the daemons in host order."""
    arguments = {CONTROL_PLANE: ("-m", "p2ptracker", "run", "--dir", str(folder))}
    for host in hosts:
        config = str(daemon_config(folder, host.name))
        arguments[host.name] = ("-m", "p2pdaemon", "run", "--config", config)
    return [
        Program(
            name=name,
            arguments=line,
            log_path=folder / "logs" / f"{name}.log",
            record_path=folder / "run" / f"{name}.json",
        )
        for name, line in arguments.items()
    ]


def start_program(program: Program) -> ProcessIdentity:
    """Start *program* and record which process it is."""
    identity = spawn([sys.executable, *program.arguments], program.log_path)
    write_private(program.record_path, msgspec.json.encode(identity))
    return identity


def find_running(programs: Sequence[Program]) -> dict[str, ProcessIdentity]:
    """The programs that run, by name."""
    running: dict[str, ProcessIdentity] = {}
    for program in programs:
        identity = _recorded(program)
        if identity is not None and is_alive(identity):
            running[program.name] = identity
    rest = {program.arguments: program for program in programs if program.name not in running}
    if rest:
        for arguments, pid in _command_lines():
            program = rest.get(arguments)
            if program is not None and (identity := identify(pid)):
                running[program.name] = identity
    return running


def forget(program: Program) -> None:
    """Remove the record of a program that was stopped."""
    program.record_path.unlink(missing_ok=True)


def record_mode(folder: Path, *, detached: bool) -> None:
    """Record that an ``up`` is at work, or has been; ``down`` removes the record."""
    write_private(folder / _MODE_FILE, msgspec.json.encode(_Mode(detached)))


def was_detached(folder: Path) -> bool:
    """True when the fleet was started with ``--detach``, and not taken down since."""
    try:
        return msgspec.json.decode((folder / _MODE_FILE).read_bytes(), type=_Mode).detached
    except (OSError, *UNDECODABLE):
        return False


def mark_down(folder: Path) -> None:
    """Tell an ``up`` at work that the fleet is being taken down."""
    (folder / _MODE_FILE).unlink(missing_ok=True)


def was_taken_down(folder: Path) -> bool:
    """True when a ``down`` came after :func:`record_mode`."""
    return not (folder / _MODE_FILE).exists()


def last_words(program: Program) -> str:
    """What *program* wrote last, as words for an error message: never JSON, never a traceback."""
    try:
        with program.log_path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return _readable(said[-1])[:_WORDS_MAX] if said else ""


def _readable(line: str) -> str:
    """The event and error of a JSON log line, else the line itself."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, object])
    except UNDECODABLE:
        return "(an unreadable line)" if line.startswith("{") else line
    words = [str(fields[key]).strip() for key in ("event", "error") if fields.get(key)]
    return " ".join(": ".join(words).split())


def _recorded(program: Program) -> ProcessIdentity | None:
    try:
        return msgspec.json.decode(program.record_path.read_bytes(), type=ProcessIdentity)
    except (OSError, *UNDECODABLE):
        return None  # never started, or torn by a power cut: the command line still finds it


def _command_lines() -> list[tuple[tuple[str, ...], int]]:
    """(arguments after the interpreter, pid) of every process of this user."""
    found: list[tuple[tuple[str, ...], int]] = []
    user = os.getuid()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):  # it ended while we looked
            if entry.stat().st_uid == user:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                arguments = tuple(os.fsdecode(word) for word in words[1:-1])
                found.append((arguments, int(entry.name)))
    return found
