"""What only root may do, and so is tested only where tests run as root."""

from __future__ import annotations

import os

import pytest

__all__ = ["needs_root"]

# Devices, files of other users and processes of other users: nobody else can make them, and a
# stand-in would prove nothing about the kernel.  `.ci/run` runs as root, where none is skipped.
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root makes devices, and files and processes of other users"
)
