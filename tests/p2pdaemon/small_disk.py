"""A disk of a few MiB: the kernel's own, in memory."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["small_disk"]


@contextmanager
def small_disk(folder: Path, size_mib: int) -> Generator[Path]:
    """*folder* as a filesystem of its own; only root can.  It is gone at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={size_mib}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "p2pdeploy-test", folder], check=True)
    try:
        yield folder
    finally:
        # Lazily: a service that a failed test left running may still stand in it.
        subprocess.run(["umount", "--lazy", folder], check=True)
