"""What may go to a terminal as it is, and what becomes visible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("healthy at 10.0.0.1: ✔ é", "healthy at 10.0.0.1: ✔ é"),
        ("\x1b]0;mine\x07", "\\x1b]0;mine\\x07"),
        ("two\r\nlines", "two\\r\\nlines"),
        ("\u202eesrever", "\\u202eesrever"),
        ("\x9b2J", "\\x9b2J"),
        (b"\xff".decode(errors="surrogateescape"), "\\udcff"),
    ],
)
def test_what_a_terminal_obeys_becomes_visible(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_everything_becomes_printable_and_stays_so(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
