"""The daemon's log: one JSON object per line and event, on standard error or in a file.

Never logged: keys and join tokens, a service's environment, and anything a service says.
"""

from __future__ import annotations

import sys
from pathlib import Path

import structlog

from p2pdeploy.errors import ConfigError

__all__ = ["configure_log"]


def configure_log(path: Path | None) -> None:
    """Send all events to *path*, or to standard error.

    Raises:
        ConfigError: the file cannot be opened.
    """
    try:
        file = path.open("a", encoding="utf-8") if path else sys.stderr
    except OSError as error:
        raise ConfigError(f"cannot be opened: {error.strerror}", where=str(path)) from error
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Not dict_tracebacks: that prints local variables, among them keys.
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=file),
        cache_logger_on_first_use=True,
    )
