"""docs/threats.md names a test for each attack; each of them must exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "threats.md"
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
_NO_TEST = "no test yet"


def rows() -> list[list[str]]:
    """The cells of every attack: what, defence, tests."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] != "attack"]


@cache
def functions_of(name: str) -> frozenset[str]:
    """The test functions of a file below tests/; none when there is no such file."""
    path = ROOT / "tests" / name
    if not path.is_file():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = ast.walk(ast.parse(path.read_bytes()))
    return frozenset(node.name for node in nodes if isinstance(node, functions))


def test_every_attack_has_a_defence_and_a_test_or_says_that_it_has_none():
    """A row that names nothing would look like a defence."""
    attacks = rows()
    assert len(attacks) > 60, "the tables have another form now"

    assert [row for row in attacks if len(row) != 3 or not all(row)] == []
    assert [row[0] for row in attacks if row[2] != _NO_TEST and not _TEST.search(row[2])] == []


def test_every_test_that_is_named_exists():
    """A renamed test takes its name in the page along."""
    named = [match for row in rows() for match in _TEST.findall(row[2])]
    assert len(named) > 100

    assert [f"{file}::{test}" for file, test in named if test not in functions_of(file)] == []
