"""How long ``make demo`` takes on a fresh clone of the last commit, installs included."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from local_fleet import scratch_folder
from result import ResultWriter

LIMIT_S = 240.0
CHECKOUT = Path(__file__).resolve().parent.parent


def main() -> int:
    results = ResultWriter()
    with scratch_folder() as folder:
        clone = folder / "clone"
        subprocess.run(["git", "clone", "-q", CHECKOUT, clone], check=True)
        began = time.perf_counter()
        done = subprocess.run(["make", "-s", "demo"], check=False, cwd=clone, stdout=sys.stderr)
        seconds = time.perf_counter() - began
    results.add("demo-fresh-clone", seconds, LIMIT_S, "s", exit_code=done.returncode)
    return results.exit_code or done.returncode


if __name__ == "__main__":
    sys.exit(main())
