"""How long ``p2pctl --help`` takes: the median wall time of twenty runs after a first one."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from result import ResultWriter

LIMIT_S = 0.3
RUNS = 20


def main() -> int:
    argv = [Path(sys.executable).parent / "p2pctl", "--help"]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)  # byte code and page cache
    times_s = [timed_s(argv) for _ in range(RUNS)]
    results = ResultWriter()
    median_s = statistics.median(times_s)
    results.add("cli-start", median_s, LIMIT_S, "s", worst=round(max(times_s), 3), runs=RUNS)
    return results.exit_code


def timed_s(argv: list[Path | str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
