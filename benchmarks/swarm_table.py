"""The figures that the swarm has to reach, each measured by ``swarm.py`` and held against its bar.

Prints one JSON line per figure, and exits 1 when one is missed.  Without ``--row`` all of them are
measured, which takes an hour with three runs each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from lab.bars import ROWS, figures
from lab.rows import Row
from result import ResultWriter

SWARM = Path(__file__).with_name("swarm.py")
RUNS_MAX = 99


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=sorted(ROWS), action="append", help="default: every one")
    parser.add_argument("--runs", type=int, default=3, help="of which the median counts")
    asked = parser.parse_args()
    if not 1 <= asked.runs <= RUNS_MAX:
        parser.error(f"--runs {asked.runs} is not between 1 and {RUNS_MAX}")
    results = ResultWriter()
    for name in asked.row or ROWS:
        measured = _measure(ROWS[name].words, asked.runs)
        for figure in figures(ROWS[name], measured):
            what = f"{name}: {figure.what}"
            results.add(what, figure.value, figure.bar, "x", runs=asked.runs)
    return results.exit_code


def _measure(words: str, runs: int) -> Mapping[str, Row]:
    """The line of each client and fault: of the only run, or the medians of all of them."""
    command = [sys.executable, str(SWARM), *words.split(), "--runs", str(runs), "-o", "json"]
    lines: list[Row] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as swarm:
        assert swarm.stdout is not None
        for text in swarm.stdout:
            sys.stderr.write(text)  # what the figures are made of
            lines.append(json.loads(text))
    if swarm.returncode != 0:
        raise SystemExit(f"swarm.py {words} exits {swarm.returncode}")
    return {
        str(line.get("fault") or line["client"]): line
        for line in lines
        if runs == 1 or "median_of" in line
    }


if __name__ == "__main__":
    sys.exit(main())
