"""One result as one JSON line, and the exit code of a whole script."""

from __future__ import annotations

import json
import os
import sys

__all__ = ["ResultWriter", "machine"]


class ResultWriter:
    """Prints results as they come; ``exit_code`` is 1 as soon as one missed its limit."""

    def __init__(self) -> None:
        self.exit_code = 0

    def add(self, work: str, figure: float, limit: float, unit: str, **details: object) -> None:
        """Print one result; it is ok when *figure* is at most *limit*."""
        ok = figure <= limit
        if not ok:
            self.exit_code = 1
        head = {"work": work, "figure": round(figure, 3), "unit": unit, "limit": limit, "ok": ok}
        # Somebody else's work on the machine explains many a figure; the reader should see it.
        where = {"load_1min": round(os.getloadavg()[0], 2), "machine": machine()}
        print(json.dumps({**head, **details, **where}), flush=True)


def machine() -> str:
    """Cores, processor, memory and Python of the machine that measures."""
    model = "unknown processor"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = " ".join(line.partition(":")[2].split())
                break
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{os.cpu_count()} cores, {model}, {memory_gib:.0f} GiB, Python {python}"
