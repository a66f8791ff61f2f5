"""A fault in a service.toml, and the line on which it stands (pure)."""

from __future__ import annotations

import difflib
import re
from typing import Literal

import msgspec

from p2pdeploy.errors import PayloadError

__all__ = ["Finding", "Places"]

_TABLE = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$")
_KEY = re.compile(r"\s*([\w.\"' -]+?)\s*=")
_TOML_PLACE = re.compile(r"(.*?) \(at line (\d+), column \d+\)$", re.DOTALL)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that lint says.  ``key`` is dotted, such as ``run.command``; empty for the file."""

    file: str
    line: int
    key: str
    message: str
    hint: str = ""
    severity: Literal["error", "warning"] = "error"

    def to_error(self) -> PayloadError:
        """The finding as the error that stops a publish."""
        place = f"{self.file}:{self.line}" + (f": {self.key}" if self.key else "")
        return PayloadError(self.message, where=place, hint=self.hint, code="bad-service-toml")


class Places:
    """Finds the line of a key; tomllib tells none."""

    def __init__(self, data: bytes, where: str) -> None:
        self._where = where
        self._lines: dict[str, int] = {}
        table = ""
        text = data.decode(errors="replace")
        self._line_count = text.count("\n") + 1
        for number, line in enumerate(text.splitlines(), 1):
            if header := _TABLE.match(line):
                table = _plain(header[1])
                self._lines.setdefault(table, number)
            elif key := _KEY.match(line):
                name = _plain(key[1])
                self._lines.setdefault(f"{table}.{name}" if table else name, number)

    def line_of(self, name: str) -> int:
        """The line of dotted *name*, of what is below it, or of the nearest table above it."""
        while name:
            if name in self._lines:
                return self._lines[name]
            below = [line for key, line in self._lines.items() if key.startswith(f"{name}.")]
            if below:
                return min(below)
            name = name.rpartition(".")[0]
        return 1

    def finding(
        self,
        name: str,
        message: str,
        *,
        hint: str = "",
        severity: Literal["error", "warning"] = "error",
    ) -> Finding:
        """A finding about dotted *name*."""
        return Finding(
            file=self._where,
            line=self.line_of(name),
            key=name,
            message=message,
            hint=hint,
            severity=severity,
        )

    def unknown(self, name: str, known: list[str]) -> Finding:
        """The finding for a table or key that does not exist."""
        near = difflib.get_close_matches(name.rpartition(".")[2], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        return self.finding(name, "is unknown", hint=hint)

    def syntax_fault(self, message: str) -> Finding:
        """The finding for text that is not TOML."""
        place = _TOML_PLACE.match(message)
        text, line = (place[1], int(place[2])) if place else (message, self._line_count)
        on_line = [name for name, at in self._lines.items() if at == line and "." in name]
        key = on_line[0] if on_line else ""
        return Finding(file=self._where, line=line, key=key, message=f"is not TOML: {text}")


def _plain(dotted: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in dotted.split("."))
