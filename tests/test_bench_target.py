"""``make bench``: which scripts it runs, and how it ends."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
# A clone of its own, and root; swarm_table takes an hour, swarm_cpu 50 GB.
NOT_IN_BENCH = {"delta", "demo_time", "swarm", "swarm_cpu", "swarm_table"}


def test_make_bench_runs_every_benchmark_but_those_that_its_readme_names() -> None:
    listed = re.search(r"^BENCHMARKS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listed
    scripts = {
        path.stem
        for path in (ROOT / "benchmarks").glob("*.py")
        if "__main__" in path.read_text(encoding="utf-8")
    }
    assert set(listed[1].split()) == scripts - NOT_IN_BENCH


def test_a_missed_limit_ends_make_bench_only_after_the_last_script(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "ran $1"\ncase $1 in *missing*) exit 1;; esac\n')
    python.chmod(0o755)
    done = run_bench(tmp_path, "missing good")
    assert done.stdout.splitlines() == ["ran benchmarks/missing.py", "ran benchmarks/good.py"]
    assert done.returncode != 0
    assert "a limit was missed, or it failed: missing" in done.stderr
    assert run_bench(tmp_path, "good").returncode == 0


def run_bench(folder: Path, scripts: str) -> subprocess.CompletedProcess[str]:
    """``make bench`` with *scripts* and the python in *folder*, without setting up anything."""
    command = ["make", "-s", "-o", "setup", "bench", f"BIN={folder}", f"BENCHMARKS={scripts}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
