"""What a supervisor writes down of its run, durable when the call returns.

Standard library only and few modules: part of :mod:`p2pdaemon.services.supervisor`.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

__all__ = ["start_time_ticks", "utc_now", "write_json"]


def write_json(path: str, document: dict[str, Any]) -> None:
    """Replace *path*: after a crash it holds the old or the new document, never half of one."""
    descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(json.dumps(document).encode())
        file.flush()
        os.fsync(descriptor)
    os.rename(f"{path}.new", path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)


def utc_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def start_time_ticks(pid: int) -> int:
    """Clock ticks from boot to the start of *pid*: field 22 of proc_pid_stat(5)."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])
