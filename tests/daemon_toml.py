"""A host's daemon.toml as a file, for tests that start a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from p2pdaemon.config import DaemonConfig

__all__ = ["write_daemon_toml"]


def write_daemon_toml(folder: Path, config: DaemonConfig) -> Path:
    """Write *config* into *folder*; returns the path."""
    values = msgspec.to_builtins(config, enc_hook=str)
    path = folder / "daemon.toml"
    path.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items() if v is not None))
    return path
