"""Entry point of ``p2pctl`` and ``python -m p2pctl``."""

from __future__ import annotations

import sys

from p2pctl.cli import run

__all__ = ["main"]


def main() -> None:
    """Run one command and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
