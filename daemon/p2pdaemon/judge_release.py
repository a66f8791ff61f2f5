"""``python -m p2pdaemon.judge_release``: the daemon's own short child that judges release metadata.

Not a command of ``p2pdaemon``: every host of a cell starts one at the same moment, before the
first byte of a release, so it loads what judging needs and neither trio nor click.
"""

from __future__ import annotations

import os
import sys

from p2pdaemon.judge_bundle import QUESTION_BYTES_MAX, answer

__all__ = ["main"]

PRIVATE_UMASK = 0o077  # what is remembered is nobody else's


def main() -> None:
    """The question comes on standard input, the verdict goes to standard output.

    What is raised is a traceback, whose last line the daemon logs.
    """
    os.umask(PRIVATE_UMASK)
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read(QUESTION_BYTES_MAX + 1)))


if __name__ == "__main__":
    main()
