"""Processes as the machine shows them: which belong to a folder, and the end of all of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.integration.waiting import wait_for

__all__ = ["END_TIMEOUT_S", "kill_below", "processes_below", "spare_none_below"]

END_TIMEOUT_S = 20.0  # of a process that was killed

_GUARD = """
import sys
from pathlib import Path
from tests.integration.processes import kill_below
folder = Path(sys.stdin.readline().removesuffix("\\n"))
sys.stdin.read()
kill_below(folder)
"""


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


@contextmanager
def spare_none_below(folder: Path) -> Generator[None]:
    """At the end :func:`kill_below`, also when this process is killed before it gets there.

    Services outlive their daemons, and so whoever started these.  A process of its own waits for
    the end of a pipe whose other end only we have.
    """
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, "-c", _GUARD],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        cwd="/",
        start_new_session=True,  # Ctrl-C is for us
    ) as guard:
        assert guard.stdin is not None
        guard.stdin.write(os.fsencode(folder) + b"\n")
        guard.stdin.flush()
        yield
        # Leaving the block closes the pipe and waits, whatever happened.
    assert guard.returncode == 0
