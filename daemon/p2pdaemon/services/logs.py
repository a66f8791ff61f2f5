"""A service's log files: bounded by rotation, read back across it.

The service holds its log open for appending and knows nothing of rotation, so a rotation copies
and truncates; what is written in the instant between the two is lost.  Everything here blocks.
"""

from __future__ import annotations

import os
from pathlib import Path

from p2pdeploy.printable import printable

__all__ = ["rotate", "tail"]

ROTATE_BYTES = 10 * 1024 * 1024  # a day of a talkative service
KEPT_MAX = 3  # older parts; with a log of the usual pace one service uses 40 MiB at most
COPY_BYTES = 256 * 1024


def rotate(path: Path, *, above_bytes: int = ROTATE_BYTES) -> bool:
    """Move the content of *path* to ``path.1`` if it is larger than *above_bytes*.

    Older parts move up to ``path.3``; the oldest is dropped.  Of a log that outgrew its limit
    several times over, the newest *above_bytes* are kept, and as much again of what is written
    meanwhile.  If this dies half way, a part exists twice or once, never not at all.

    Returns:
        Whether it was rotated.

    Raises:
        OSError: the disk is full or the folder is not ours; the log goes on growing.
    """
    try:
        log = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        size_bytes = os.fstat(log).st_size
        if size_bytes <= above_bytes:
            return False
        copy = path.with_name(f"{path.name}.new")
        _copy_from(log, max(0, size_bytes - above_bytes), copy, 2 * above_bytes)
        for number in range(KEPT_MAX - 1, 0, -1):
            if _part(path, number).exists():
                _part(path, number).replace(_part(path, number + 1))
        copy.replace(_part(path, 1))
        os.ftruncate(log, 0)
        return True
    finally:
        os.close(log)


def _part(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _copy_from(log: int, offset_bytes: int, copy: Path, bytes_max: int) -> None:
    """Copy *log* from *offset_bytes* to its end by then; a writer faster than us is cut off."""
    end_bytes = offset_bytes + bytes_max
    with copy.open("wb") as file:
        while data := os.pread(log, min(COPY_BYTES, end_bytes - offset_bytes), offset_bytes):
            file.write(data)
            offset_bytes += len(data)


def tail(path: Path, *, lines_max: int, bytes_max: int) -> list[str]:
    """Return the last lines of the log, oldest first, across its rotated parts.

    Args:
        path: The log; it need not exist.
        lines_max: At most so many lines.
        bytes_max: Looks at no more than this; a line that begins before is left out.

    Bytes that are no UTF-8 and control characters (an escape sequence could rewrite the
    operator's terminal) come as visible escapes, tabs excepted.
    """
    data = b""
    for part in [path, *(_part(path, number) for number in range(1, KEPT_MAX + 1))]:
        if len(data) > bytes_max or data.count(b"\n") > lines_max:
            break
        data = _read_end(part, bytes_max + 1 - len(data)) + data
    if len(data) > bytes_max:  # the byte too many shows whether the first line is whole
        data = data[data.find(b"\n") + 1 :] if b"\n" in data else b""
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return [_printable(line) for line in lines[-lines_max:]] if lines_max > 0 else []


def _read_end(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(0, size_bytes - bytes_max))
            return file.read(bytes_max)
    except FileNotFoundError:
        return b""


def _printable(line: bytes) -> str:
    text = line.removesuffix(b"\r").decode(errors="backslashreplace")
    return printable(text, besides="\t")
