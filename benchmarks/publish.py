"""Publishing random data, in multiples of ``cp`` + one BLAKE3 pass + one SHA-256 pass over it.

Both are measured in one run, the file in the page cache; of each part of the yardstick the median
of three counts, so that one slow copy on a busy disk doesn't make the publish look good.
The publish is the whole command: start of Python, cutting, hashing, sending, and the registry's
end-to-end verification.  The processor time of both sides is told beside it: on a machine that does
other work it says more than the clock.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import blake3
from local_fleet import cpu_s, make_payload, running_lab, scratch_folder
from result import ResultWriter

LIMIT = 3.0
BLOCK_BYTES = 1 << 20
REPEATS = 3
WARM_FILES = 5  # the copy, the upload, the blob, and room


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--mib", type=int, default=1024)
    mib = arguments.parse_args().mib
    results = ResultWriter()
    with scratch_folder() as folder:
        tree = folder / "tree"
        data = make_payload(tree, mib << 20)
        touch_memory(folder / "touched", WARM_FILES * data.stat().st_size)
        began_cpu_s = own_cpu_s()
        copied_s = median_s(lambda: copy(data, folder / "copy"))
        blake3_s = median_s(lambda: digest(data, blake3.blake3()))
        sha256_s = median_s(lambda: digest(data, hashlib.sha256()))
        yardstick_cpu_s = (own_cpu_s() - began_cpu_s) / REPEATS
        with running_lab(folder, hosts=1, fault_domains=1) as lab:
            registry = lab.control_plane_pid()
            client_before_s, registry_before_s = own_cpu_s(), cpu_s(registry)
            publish_s = timed_s(lambda: lab.p2pctl("publish", "hello", "1.0.0", str(tree)))
            client_cpu_s, registry_cpu_s = own_cpu_s(), cpu_s(registry)
            again_s = timed_s(lambda: lab.p2pctl("publish", "hello", "1.0.0", str(tree)))
    results.add(
        "publish-1gib" if mib == 1024 else f"publish-{mib}mib",
        publish_s / (copied_s + blake3_s + sha256_s),
        LIMIT,
        "x",
        publish_s=round(publish_s, 2),
        cp_s=round(copied_s, 2),
        blake3_s=round(blake3_s, 2),
        sha256_s=round(sha256_s, 2),
        publish_again_s=round(again_s, 2),
        yardstick_cpu_s=round(yardstick_cpu_s, 2),
        client_cpu_s=round(client_cpu_s - client_before_s, 2),
        registry_cpu_s=round(registry_cpu_s - registry_before_s, 2),
    )
    return results.exit_code


def touch_memory(path: Path, size_bytes: int) -> None:
    """Have the page cache use memory for the first time now, and not in what is measured.

    A virtual machine that gave memory back gets it page by page: writing 1 GiB then takes 3 s
    instead of 0.3 s, in cp or in the publish, whichever comes first.
    """
    block = os.urandom(BLOCK_BYTES)
    with path.open("wb") as file:
        for _ in range(size_bytes // BLOCK_BYTES):
            file.write(block)
    path.unlink()


def median_s(work: Callable[[], object]) -> float:
    return statistics.median(timed_s(work) for _ in range(REPEATS))


def timed_s(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def own_cpu_s() -> float:
    """Processor time of this process and of the programs it has run to their end."""
    return sum(os.times()[:4])


def copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--reflink=never", source, target], check=True)
    target.unlink()


def digest(path: Path, state: hashlib._Hash | blake3.blake3) -> str:
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            state.update(block)
    return state.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
