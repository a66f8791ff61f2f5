"""What hosts and people wrote is shown, and never obeyed by the operator's terminal."""

from __future__ import annotations

import io

import pytest
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from p2pctl.output import note
from p2pctl.render.console import PrintableConsole
from p2pctl.render.tables import plain_table

HOSTILE = "\x1b]0;mine\x07\x1b[2J\x9b2J\u202e"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_word_that_commands_a_terminal_is_only_shown(is_terminal: bool) -> None:
    screen = io.StringIO()
    console = PrintableConsole(file=screen, force_terminal=is_terminal, width=100, highlight=False)
    table = plain_table("HOST", "REASON")
    table.add_row("h01", f"[red]{escape(HOSTILE)}[/]")
    console.print(table, Text(HOSTILE), HOSTILE)
    assert_harmless(screen.getvalue(), times=3)


def test_it_is_not_obeyed_in_a_view_that_is_drawn_again_and_again() -> None:
    screen = io.StringIO()
    console = PrintableConsole(file=screen, force_terminal=True, width=100)
    with Live(Text(HOSTILE), console=console, auto_refresh=False) as live:
        live.refresh()
    assert_harmless(screen.getvalue(), times=1)


def test_it_is_not_obeyed_in_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    note(f"p2pctl: {HOSTILE}\nand a second line")
    said = capsys.readouterr().err
    assert_harmless(said, times=1)
    assert said.endswith("\nand a second line\n")


def assert_harmless(said: str, *, times: int) -> None:
    assert said.count("\\x1b]0;mine") >= times
    for sequence in ("\x1b]", "\x1b[2J\\", "\x07", "\x9b", "\u202e"):
        assert sequence not in said
