"""``python -m p2pdaemon.judge_release``: the daemon's own short child that judges release metadata.

Not a command of ``p2pdaemon``: every host of a cell starts one at the same moment, before the
first byte of a release, so it loads what judging needs and neither trio nor click.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from types import ModuleType

from p2pdaemon.judge_bundle import QUESTION_BYTES_MAX, answer

__all__ = ["main"]

PRIVATE_UMASK = 0o077  # what is remembered is nobody else's


def main() -> None:
    """The question comes on standard input, the verdict goes to standard output.

    What is raised is a traceback, whose last line the daemon logs.
    """
    os.umask(PRIVATE_UMASK)
    _leave_out_downloading()
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read(QUESTION_BYTES_MAX + 1)))


def _leave_out_downloading() -> None:
    """Let python-tuf's client package be imported without urllib3, a third of the time.

    Its ``__init__`` loads the part that downloads; what judges lies in modules of its own.
    """
    spec = importlib.util.find_spec("tuf.ngclient")
    assert spec is not None, "python-tuf is pinned and has this package"
    package = ModuleType(spec.name)
    package.__path__ = list(spec.submodule_search_locations or ())
    package.__spec__ = spec
    sys.modules[spec.name] = package


if __name__ == "__main__":
    main()
