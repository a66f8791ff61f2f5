"""The daemon's log: one JSON object per line and event, on standard error or in a file.

The fields are those of structlog, which the control plane logs with.
The daemon does without it, since importing it brings asyncio, rich and pygments: 6 MiB in every
daemon of the fleet.

Never logged: keys and join tokens, a service's environment, and anything a service says.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
import time
import traceback
from pathlib import Path
from typing import TextIO

from p2pdeploy.errors import ConfigError

__all__ = ["Logger", "configure_log", "get_logger"]

_file: TextIO | None = None  # one log per process; None is standard error


def configure_log(path: Path | None) -> None:
    """Send all events to *path*, or to standard error.

    Raises:
        ConfigError: the file cannot be opened.
    """
    global _file
    try:
        _file = path.open("a", encoding="utf-8") if path else None
    except OSError as error:
        raise ConfigError(f"cannot be opened: {error.strerror}", where=str(path)) from error


class Logger:
    """Says what happened, each time with the fields it was bound to."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[str, object]) -> None:
        self._fields = fields

    def bind(self, **fields: object) -> Logger:
        """A logger that adds *fields* to each of its events."""
        return Logger({**self._fields, **fields})

    def info(self, event: str, **fields: object) -> None:
        """Something went as it should."""
        self._log("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something failed that is tried again, or that somebody else decides about."""
        self._log("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something failed for good."""
        self._log("error", event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """An error, with the traceback of the exception being handled."""
        # The lines only: local variables may hold a key.
        self._log("error", event, {**fields, "exception": traceback.format_exc().rstrip()})

    def _log(self, level: str, event: str, fields: dict[str, object]) -> None:
        stamp = {"event": event, "level": level, "timestamp": _now()}
        emit({**self._fields, **fields, **stamp})


def get_logger(part: str) -> Logger:
    """The logger of one part of the daemon."""
    return Logger({"part": part})


def emit(entry: dict[str, object]) -> None:
    """Write one line.  JSON escapes control characters, so an entry stays a line.

    On a disk that is full the line is lost: whoever tells of a fault must not fail by telling.
    """
    file = _file or sys.stderr
    with contextlib.suppress(OSError):
        file.write(json.dumps(entry, default=repr) + "\n")
        file.flush()


def _now() -> str:
    now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    return now.isoformat(timespec="microseconds").replace("+00:00", "Z")
