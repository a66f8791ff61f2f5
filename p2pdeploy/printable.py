"""Text of others on our terminals: an escape sequence in it could rewrite what an operator sees."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str, *, besides: str = "") -> str:
    """*text* with visible escapes for what a terminal obeys or hides.

    Control characters, line ends, directions of writing, and halves of pairs from a file name.

    Args:
        text: Of anybody.
        besides: Characters that stay as they are: line ends in a text of several lines, say.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in besides else c.encode("unicode_escape").decode() for c in text
    )
