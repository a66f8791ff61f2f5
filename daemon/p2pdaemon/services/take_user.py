"""Become the user of a service for good: the last thing that root does before it executes it.

Imported by the supervisor's child after its fork, and started as a program for one health check
(``python -I -S take_user.py``, the order on standard input), so standard library only, and few
modules.  The environment of the service never reaches this interpreter: LD_PRELOAD in it would be
code of the payload that runs as root.

A service sees its tree and its state by their paths.  Where a folder above them is closed to its
user (a fleet's folder is, by design), it gets a mount namespace of its own, in which that folder
is empty but for the two: read-only the tree, writable the state.  The keys, journals and other
services below that folder do not exist there at all.

Source: unshare(2), mount(2), mount_namespaces(7), setresuid(2).
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import sys
from typing import Any

CLONE_NEWNS = 0x0002_0000  # linux/sched.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT = 0x1, 0x2, 0x4, 0x20  # linux/mount.h
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x8_0000
PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h
COVER_OPTIONS = b"mode=0755,size=1m"  # of the empty folder: room for a few folders' names
ORDER_BYTES_MAX = 4 * 1024 * 1024  # 256 variables of 8 KiB each, and as many words
FAILED = 127  # as a shell says that it could not execute

_libc = ctypes.CDLL(None, use_errno=True)


def take_user(user: dict[str, Any], tree: str, state: str) -> None:
    """Give up root for *user*; *tree* and *state* are reachable by their paths afterwards.

    Raises:
        OSError: it cannot be done; execute nothing.
    """
    closed = {path: closed_above(path, user) for path in (tree, state)}
    if any(closed.values()):
        show_only(closed, writable=state)
    os.setgroups([])
    os.setresgid(user["gid"], user["gid"], user["gid"])
    os.setresuid(user["uid"], user["uid"], user["uid"])


def closed_above(path: str, user: dict[str, Any]) -> str:
    """The topmost folder above *path* that *user* cannot pass; empty when there is none."""
    above = ""
    for name in path.split("/")[1:-1]:
        above = f"{above}/{name}"
        status = os.stat(above)
        if status.st_uid == user["uid"]:
            needed = stat.S_IXUSR
        else:
            needed = stat.S_IXGRP if status.st_gid == user["gid"] else stat.S_IXOTH
        if not status.st_mode & needed:
            return above
    return ""


def show_only(closed: dict[str, str], *, writable: str) -> None:
    """In a mount namespace of our own, cover each closed folder but for the paths below it."""
    folder = next(filter(None, closed.values()))
    try:
        if _libc.unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
    except PermissionError as error:
        hint = f"{folder} is closed to the service's user, and this root may not mount: chmod o+x"
        raise PermissionError(error.errno, f"{hint} {folder}") from error
    mount(None, "/", MS_REC | MS_SLAVE)  # what is mounted here stays here
    handles = {path: os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW) for path in closed}
    hidden = {above for above in closed.values() if above}
    for above in hidden:
        mount("tmpfs", above, MS_NOSUID | MS_NODEV, kind="tmpfs", options=COVER_OPTIONS)
    for path, above in closed.items():
        if above:
            os.makedirs(path, 0o755)
            mount(f"/proc/self/fd/{handles[path]}", path, MS_BIND)
            only = 0 if path == writable else MS_RDONLY
            mount(None, path, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | only)
    for above in hidden:
        mount(None, above, MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_RDONLY, options=COVER_OPTIONS)
    for handle in handles.values():
        os.close(handle)


def mount(
    source: str | None, target: str, flags: int, *, kind: str = "", options: bytes | None = None
) -> None:
    """Mount, or raise OSError."""
    done = _libc.mount(
        source.encode() if source else None,
        os.fsencode(target),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        options,
    )
    if done != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot mount at {target}: {os.strerror(code)}")


def main() -> None:
    """Carry out the order on standard input: become the user, execute the check."""
    order = json.loads(os.read(0, ORDER_BYTES_MAX))
    argv = order["argv"]
    doing = f"cannot become user {order['user']['uid']}"
    try:
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        take_user(order["user"], order["cwd"], order["state"])
        if _libc.prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        doing = f"cannot enter {order['cwd']}"
        os.chdir(order["cwd"])
        doing = f"cannot execute {argv[0]}"
        os.execvpe(argv[0], argv, order["env"])
    except OSError as error:
        sys.stderr.write(f"{doing}: {error.strerror}\n")
    os._exit(FAILED)


if __name__ == "__main__":
    main()
