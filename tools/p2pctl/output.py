"""What a command prints: a document for scripts on stdout, or a view for people.

* ``-o json``: stdout holds the document and nothing else, one line each, errors included.
* ``-o table``: stdout holds the view, errors go to stderr.
* Progress and messages go to stderr in both.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeVar

import msgspec

from p2pdeploy.errors import P2PDeployError
from p2pdeploy.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = [
    "Output",
    "OutputFormat",
    "WatchedStream",
    "note",
    "print_error",
    "print_json",
    "replace_unprintable",
    "stderr_console",
    "stdout_console",
]

T = TypeVar("T")

OutputFormat = Literal["table", "json"]

# A pipe or file has no width of its own; wide enough that no table of ours is cut.
_WIDTH_WITHOUT_TERMINAL = 160


class Output(msgspec.Struct, frozen=True):
    """The form that one command was asked to answer in."""

    format: OutputFormat = "table"

    @property
    def is_json(self) -> bool:
        return self.format == "json"

    def show(self, document: T, view: Callable[[T], RenderableType]) -> None:
        """Print *document*, or what *view* makes of it.  *view* is not called for JSON."""
        if self.is_json:
            print_json(document)
        else:
            # A table wider than the terminal loses nothing: the terminal wraps it.
            stdout_console().print(view(document), crop=False)


def print_json(document: object) -> None:
    """One document, one line, at once (a reader of ``-w`` must not wait for a full buffer)."""
    sys.stdout.write(_json_line(document) + "\n")
    sys.stdout.flush()


def _json_line(document: object) -> str:
    """The document; what stdout or UTF-8 cannot hold, as in a path, is escaped as JSON does it."""
    try:
        text = msgspec.json.encode(document).decode()
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(document), separators=(",", ":"))
    return text


def print_error(error: P2PDeployError, output: Output) -> None:
    """Tell the user what went wrong, in one line or one document."""
    if output.is_json:
        body = {
            "code": error.code,
            "message": error.message,
            "where": error.where,
            "hint": error.hint,
        }
        print_json({"error": body})
    else:
        note(f"p2pctl: {error}")


def note(text: str) -> None:
    """One line for people on stderr; a stderr that takes nothing has nobody to tell."""
    with suppress(OSError):
        sys.stderr.write(printable(text, besides="\n") + "\n")
        sys.stderr.flush()


class WatchedStream:
    """A text stream that remembers that it failed: an OSError alone tells not what it is about."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str, /) -> int:
        with self._watch():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._watch():
            self._stream.flush()

    @contextmanager
    def _watch(self) -> Generator[None]:
        try:
            yield
        except OSError:
            self.failed = True
            raise


def replace_unprintable() -> None:
    """From now on stdout shows ``?`` for a character that its encoding lacks, and does not fail."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def stderr_console() -> Console:
    """Where progress bars and messages are drawn."""
    return _console(stderr=True)


def stdout_console() -> Console:
    """Where views are drawn."""
    return _console(stderr=False)


def _console(*, stderr: bool) -> Console:
    from p2pctl.render.console import PrintableConsole

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    return PrintableConsole(
        stderr=stderr, width=width, highlight=False, soft_wrap=not stream.isatty()
    )
