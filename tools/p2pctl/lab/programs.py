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

from p2pctl.fleet_dir import write_private
from p2pctl.lab.layout import daemon_config
from p2pctl.lab.processes import spawn
from p2pdeploy.process_identity import ProcessIdentity, identify, is_alive
from p2pdeploy.topology import Host

__all__ = [
    "CONTROL_PLANE",
    "Program",
    "find_running",
    "forget",
    "last_log_lines",
    "programs_of",
    "start_program",
]

CONTROL_PLANE = "control-plane"
_LOG_TAIL_BYTES = 4096


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


def last_log_lines(program: Program, count: int = 3) -> str:
    """The last lines that *program* wrote, as one line for an error message."""
    try:
        with program.log_path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return " | ".join(line.strip() for line in lines[-count:] if line.strip())


def _recorded(program: Program) -> ProcessIdentity | None:
    try:
        return msgspec.json.decode(program.record_path.read_bytes(), type=ProcessIdentity)
    except (OSError, msgspec.MsgspecError):
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
