"""Publishing and rolling out many small files, in multiples of one file of the same size."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from pathlib import Path

from local_fleet import HELLO, Lab, running_lab, scratch_folder
from result import ResultWriter

LIMIT = 3.0
FILE_BYTES_MIN, FILE_BYTES_MAX = 1024, 8 * 1024
FILES_PER_FOLDER = 500  # as a build of many packages has


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--files", type=int, default=100_000)
    arguments.add_argument("--hosts", type=int, default=3)
    asked = arguments.parse_args()
    results = ResultWriter()
    with scratch_folder() as folder:
        many, one = folder / "many", folder / "one"
        size_bytes = _write_many(_tree(many), asked.files)
        _write_one(_tree(one), size_bytes)
        with running_lab(folder, hosts=asked.hosts, fault_domains=asked.hosts) as lab:
            # One version each, the single file first: nothing of the other is reused.
            one_s = _deploy(lab, one, "1.0.0")
            many_s = _deploy(lab, many, "2.0.0")
        for work, many_took_s, one_took_s in zip(
            ("small-files-publish", "small-files-rollout"), many_s, one_s, strict=True
        ):
            results.add(
                work,
                many_took_s / one_took_s,
                LIMIT,
                "x",
                files=asked.files,
                hosts=asked.hosts,
                mib=size_bytes >> 20,
                many_s=round(many_took_s, 1),
                one_s=round(one_took_s, 1),
            )
    return results.exit_code


def _deploy(lab: Lab, tree: Path, version: str) -> tuple[float, float]:
    """Seconds of the publish, and of the rollout until every host is healthy with it."""
    began = time.perf_counter()
    lab.p2pctl("publish", "hello", version, str(tree))
    return time.perf_counter() - began, lab.roll_out("hello", version, "20m")


def _tree(folder: Path) -> Path:
    shutil.copytree(HELLO, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _write_many(tree: Path, count: int) -> int:
    rng = random.Random(1)
    total_bytes = 0
    for number in range(count):
        folder = tree / "data" / f"{number // FILES_PER_FOLDER:04d}"
        if number % FILES_PER_FOLDER == 0:
            folder.mkdir(parents=True)
        size_bytes = rng.randint(FILE_BYTES_MIN, FILE_BYTES_MAX)
        (folder / f"{number % FILES_PER_FOLDER:04d}").write_bytes(os.urandom(size_bytes))
        total_bytes += size_bytes
    return total_bytes


def _write_one(tree: Path, size_bytes: int) -> None:
    with (tree / "data.bin").open("wb") as file:
        left_bytes = size_bytes
        while left_bytes:
            left_bytes -= file.write(os.urandom(min(left_bytes, 1 << 20)))


if __name__ == "__main__":
    sys.exit(main())
