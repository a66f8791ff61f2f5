"""News of one cell: how many orders it has had, and who is told of more.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["News"]


class News:
    """Orders are counted, since the cell waits for them; what hosts say of themselves is not.

    The count begins anew with the process, so whoever lost its connection believes none.
    """

    def __init__(self) -> None:
        self.revision = 1  # 0 is a delegate that has seen none
        self.count = 0  # of everything, what hosts say included
        self._listeners: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<News {self.revision}>"

    def tell_order(self) -> None:
        """An order came in: from here, or back from a cell."""
        self.revision += 1
        self.tell_word()

    def tell_word(self) -> None:
        """A delegate brought what a host attests."""
        self.count += 1
        for listener in self._listeners:
            listener()

    @contextmanager
    def told_to(self, listener: Callable[[], None]) -> Generator[None]:
        """Call *listener* after everything that comes inside the block; it neither waits nor asks
        for more.
        """
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)
