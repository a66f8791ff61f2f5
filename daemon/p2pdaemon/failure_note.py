"""Why a change failed, on disk before it is undone.

Without it a daemon killed while going back would find the old build running, take the change for
interrupted, and let the bad build start again.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from p2pdaemon.journal import write_durably
from p2pdeploy.activation.record import Started
from p2pdeploy.codec import UNDECODABLE

__all__ = ["Failure", "FailureNote"]


class Failure(msgspec.Struct, frozen=True):
    """A stable code, and one line for people."""

    code: str
    reason: str


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    started: Started
    failure: Failure


class FailureNote:
    """The note in one service's folder.  Blocking."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "failed-change.json"

    def write(self, started: Started, failure: Failure) -> None:
        """Durable when this returns."""
        write_durably(self._path, msgspec.json.encode(_Note(started=started, failure=failure)))

    def read(self, started: Started) -> Failure | None:
        """Why *started* failed, if it did; a note on any other change does not count."""
        try:
            note = msgspec.json.decode(self._path.read_bytes(), type=_Note)
        except FileNotFoundError:
            return None
        except UNDECODABLE:
            # Replaced whole and synced, so this is damage: going back is the safe reading.
            return Failure("unknown", "the note on why the change failed is damaged")
        return note.failure if note.started == started else None

    def clear(self) -> None:
        """Forget it: another change begins."""
        self._path.unlink(missing_ok=True)
