"""A world of its own: network, process and mount namespaces that end with their first process.

Whatever is made in it (bridges, cables, machines, processes) is gone when that process is, be it
by an exception or by kill -9.  Nothing outside is touched, so there is nothing to clean up.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

__all__ = ["enter_world"]

_INSIDE = "P2PDEPLOY_LAB_WORLD"
_NEEDED = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "tc": "iproute2"}
_SPACES = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_NAMES = "/run/netns"  # where ``ip netns`` keeps its names


def enter_world() -> None:
    """Run this very script again in a world of its own, and end with its exit code.

    Returns only inside.  Ends with one clear line where there can be no such world.
    """
    if os.environ.get(_INSIDE) == str(os.getpid()):
        _furnish()
        return
    if os.geteuid() != 0:
        raise SystemExit("a lab of network namespaces needs root")
    missing = sorted({_NEEDED[program] for program in _NEEDED if not shutil.which(program)})
    if missing:
        raise SystemExit(
            f"a lab needs {' and '.join(missing)}: apt-get install {' '.join(missing)}"
        )
    script = [sys.executable, *sys.orig_argv[1:]]
    # Installed programs start from compiled modules, and so do ours here.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # The first process of a world has the number 1, so a script started inside asks no second time.
    os.execvpe("unshare", ["unshare", *_SPACES, *script], {**os.environ, _INSIDE: "1"})


def _furnish() -> None:
    """A folder for the names of machines, seen by this world alone."""
    os.makedirs(_NAMES, exist_ok=True)
    for words in (["mount", "-t", "tmpfs", "tmpfs", _NAMES], ["ip", "link", "set", "lo", "up"]):
        subprocess.run(words, check=True)
