"""A targets file: one machine name a line, ``#`` starts a comment."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from p2pdeploy.errors import ConfigError, RefusedError
from p2pdeploy.ids import HostName, check_label

__all__ = ["naming_lines", "parse_targets", "read_targets"]

# 3 million names of 64 bytes are 192 MB; one rollout request is far below that.
_TARGETS_BYTES_MAX = 8 * 1024 * 1024


def read_targets(path: Path) -> tuple[HostName, ...]:
    """Read the machine names of *path*, in file order.

    Raises:
        ConfigError: unreadable, too large, or a fault that :func:`parse_targets` found.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_TARGETS_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if len(data) > _TARGETS_BYTES_MAX:
        raise ConfigError(f"larger than {_TARGETS_BYTES_MAX} bytes", where=str(path))
    return parse_targets(data, str(path))


def parse_targets(data: bytes, where: str) -> tuple[HostName, ...]:
    """Return the names in *data*.

    Raises:
        ConfigError: not UTF-8, a name that cannot be one, a name twice, or no name at all; the
            error names file and line.
    """
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError("not UTF-8 text", where=f"{where}:{line}") from error
    seen: dict[HostName, int] = {}
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        name = _name(text, f"{where}:{number}")
        if name in seen:
            raise ConfigError(
                f"{name} stands on line {seen[name]} already",
                where=f"{where}:{number}",
                code="duplicate-target",
            )
        seen[name] = number
    if not seen:
        raise ConfigError("no machine named", where=where, code="empty-target")
    return tuple(seen)


@contextmanager
def naming_lines(path: Path | None) -> Generator[None]:
    """Say on which line of the targets file *path* a machine stands that the fleet refuses."""
    try:
        yield
    except RefusedError as error:
        if path is not None and error.code == "unknown-host":
            line = _line_of(error.where, path)
            error.where = f"{path}:{line}" if line else str(path)
        raise


def _line_of(name: str, path: Path) -> int:
    """Counted from 1; 0: not there, since a pipe is read only once."""
    lines = path.read_text().splitlines()
    texts = [line.partition("#")[0].strip() for line in lines]
    return texts.index(name) + 1 if name in texts else 0


def _name(text: str, where: str) -> HostName:
    try:
        return HostName(check_label(text, "machine name"))
    except RefusedError as error:
        raise ConfigError(
            error.message,
            where=where,
            hint=f"one machine name a line; {error.hint}",
            code=error.code,
        ) from error
