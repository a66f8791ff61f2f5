"""Processes as the machine shows them: which belong to a folder, and the end of all of them."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from pathlib import Path

from tests.integration.waiting import wait_for

__all__ = ["END_TIMEOUT_S", "kill_below", "processes_below"]

END_TIMEOUT_S = 20.0  # of a process that was killed


def processes_below(folder: Path) -> dict[int, str]:
    """Command line by pid of every process of ours whose words or working directory name it."""
    names_it = re.compile(re.escape(os.fsencode(folder)) + rb"(?![\w.-])")
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):  # it ended, or is not ours
            line = (entry / "cmdline").read_bytes()
            if names_it.search(line) or names_it.search(os.fsencode((entry / "cwd").readlink())):
                found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace")
    return found


def kill_below(folder: Path) -> None:
    """Kill -9 all of these, also what they start meanwhile, and wait until they are gone."""

    def kill() -> dict[int, str]:
        found = processes_below(folder)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found

    wait_for(
        kill,
        f"every process below {folder} has ended",
        until=lambda found: not found,
        timeout_s=END_TIMEOUT_S,
    )
