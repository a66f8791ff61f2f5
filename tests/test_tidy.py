"""The house checks itself: what ruff, pyright and import-linter cannot see.

Each test reads the tracked sources; a violation is told with file and line.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE_FOLDERS = (
    "p2pdeploy/",
    "daemon/p2pdaemon/",
    "tracker/p2ptracker/",
    "tools/p2pctl/",
    "tools/p2psim/",
)
# Programs whose stdout is their product; everything else logs or returns.
PRINTING_FOLDERS = ("tools/p2pctl/", "tools/p2psim/", "benchmarks/", "docs/", "examples/", "tests/")
BANNED_CALLS = {
    "time.sleep": "wait for a condition, or use trio.sleep",
    "random.random": "pass a random.Random in, so that a seed replays the run",
    "os.system": "use an argv without a shell",
}
# The supervisor runs without trio (a few MiB per service, stdlib only), so it may block.
MAY_BLOCK = ("daemon/p2pdaemon/services/supervisor.py", "benchmarks/", "examples/", "tests/")
CLOCK_READINGS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}


@cache
def tracked(suffix: str = "") -> tuple[str, ...]:
    """Paths of tracked files that exist (one may just have been deleted)."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    names = tuple(n for n in listed if n.endswith(suffix) and n and (ROOT / n).is_file())
    assert names or suffix, "no tracked files: is this a git checkout?"
    return names


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_bytes(), filename=name)


def package_sources() -> list[str]:
    names = [name for name in tracked(".py") if name.startswith(PACKAGE_FOLDERS)]
    assert len(names) > 20, "the package folders have moved"
    return names


def dotted(node: ast.expr) -> str:
    """``a.b.c`` of a name or attribute expression; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def calls(name: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node.lineno


def imported_modules(name: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno


# -- sources ---------------------------------------------------------------------------------


def test_every_module_says_what_it_is_for():
    """A newcomer can open any file and read its purpose first."""
    names = [*package_sources(), *(n for n in tracked(".py") if n.startswith("benchmarks/"))]

    assert [name for name in names if not ast.get_docstring(tree_of(name))] == []


def test_banned_calls_are_not_made():
    """Blocking, unseeded chance and shells have better ways, which the message names."""
    found = [
        f"{name}:{line}: {call}: {BANNED_CALLS[call]}"
        for name in tracked(".py")
        if not name.startswith(MAY_BLOCK)
        for call, line in calls(name)
        if call in BANNED_CALLS
    ]

    assert found == []


def test_only_programs_whose_product_is_stdout_print():
    """A print in a library or a daemon is a log line nobody can filter."""
    found = [
        f"{name}:{line}"
        for name in tracked(".py")
        if not name.startswith(PRINTING_FOLDERS)
        for call, line in calls(name)
        if call == "print"
    ]

    assert found == []


def test_cores_do_not_read_the_calendar():
    """import-linter lets a core import datetime for its type; reading the clock is refused here."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = config["tool"]["importlinter"]["contracts"]
    cores = next(c["source_modules"] for c in contracts if c["name"].startswith("Cores"))
    names = [name for name in package_sources() if _is_in(name, cores)]
    assert len(names) > 10

    found = [
        f"{name}:{line}: {call}"
        for name in names
        for call, line in calls(name)
        if ".".join(call.split(".")[-2:]) in CLOCK_READINGS
    ]

    assert found == []


def _is_in(name: str, modules: list[str]) -> bool:
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    module = re.sub(r"^(daemon|tracker|tools)\.", "", module)
    return any(module == core or module.startswith(core + ".") for core in modules)


def test_role_folders_are_not_packages():
    """With __init__.py in daemon/, every module would exist twice (docs/adr/0001)."""
    names = {f"{folder}/__init__.py" for folder in ("daemon", "tracker", "tools")}

    assert [name for name in names if (ROOT / name).exists()] == []


def test_role_folders_are_never_imported():
    """``import daemon.p2pdaemon`` would make a second copy of every module."""
    found = [
        f"{name}:{line}: {module}"
        for name in tracked(".py")
        for module, line in imported_modules(name)
        if module.split(".")[0] in {"daemon", "tracker", "tools"}
    ]

    assert found == []


# -- documents -------------------------------------------------------------------------------

_LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def _slugs(markdown: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(
        r"^#+ +(.+?) *$", re.sub(r"```.*?```", "", markdown, flags=re.DOTALL), re.M
    )
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_docs_links_resolve():
    """Every relative link names a file of this repository, and its anchor a heading of it."""
    broken: list[str] = []
    for name in tracked(".md"):
        text = (ROOT / name).read_text()
        for target in _LINK.findall(_CODE.sub("", text)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            page = (ROOT / name).parent / path if path else ROOT / name
            if not page.exists() or (anchor and anchor not in _slugs(page.read_text())):
                broken.append(f"{name}: {target}")

    assert broken == []


def test_docs_name_only_files_that_exist():
    """A path in backticks that looks like one of ours is one of ours."""
    ours = re.compile(
        r"`((?:p2pdeploy|daemon|tracker|tools|tests|benchmarks|docs|examples)/[\w./-]+?\.(?:py|md|toml))`"
    )
    missing = [
        f"{name}: {path}"
        for name in tracked(".md")
        for path in ours.findall((ROOT / name).read_text())
        if not (ROOT / path).exists()
    ]

    assert missing == []


def test_docs_index_lists_every_decision_record():
    """A decision nobody can find is made again."""
    index = (ROOT / "docs/adr/index.md").read_text()
    records = [Path(n).name for n in tracked(".md") if re.match(r"docs/adr/\d{4}-", n)]
    assert records

    assert [record for record in records if f"({record})" not in index] == []


# -- what must not be in the repository ------------------------------------------------------


def test_no_tracked_file_names_a_machine_or_a_registry():
    """Checkouts are anywhere and indexes are configured by whoever installs."""
    # Written in pieces, so that this file does not find itself.
    forbidden = re.compile(
        r"(?<![\w.$}/-])/(?:work|root|Users|home/\w+)/"
        + "|"
        + r"python"
        + r"hosted\.org|py"
        + r"pi\.org|--(?:extra-)?index"
        + r"-url\b(?! pyproject)"
    )
    found: list[str] = []
    for name in tracked():
        try:
            text = (ROOT / name).read_text()
        except UnicodeDecodeError:
            continue  # a binary fixture
        found += [
            f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
            for match in forbidden.finditer(text)
            if name != "tests/test_tidy.py"
        ]

    assert found == []


# -- what a program loads --------------------------------------------------------------------


def _loaded_by(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after *code*."""
    program = f"import sys, json\n{code}\nprint(json.dumps(list(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


def test_help_of_the_command_line_loads_nothing_heavy():
    """What makes ``p2pctl --help`` quick, told by modules instead of by a stopwatch."""
    heavy = {"trio", "libtorrent", "httpx2", "litestar", "sqlalchemy", "rich", "zeroconf", "blake3"}

    assert _loaded_by("from p2pctl.cli import run; run(['--help'])") & heavy == set()


@pytest.mark.parametrize("package", ["p2pdaemon", "p2pctl"])
def test_hosts_and_desks_never_load_the_control_planes_libraries(package: str):
    """Memory on every host is dear; all modules are imported, whatever they load lazily is not."""
    code = (
        f"import importlib, pkgutil, {package} as package\n"
        "for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    if not module.name.endswith(('.__main__', '.supervisor')):\n"
        "        importlib.import_module(module.name)\n"
    )
    server_side = {"litestar", "hypercorn", "sqlalchemy", "obstore", "p2ptracker"}

    assert _loaded_by(code) & server_side == set()
