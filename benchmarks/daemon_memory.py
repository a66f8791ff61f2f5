"""What a daemon costs its host: RSS while fetching, RSS and CPU when idle afterwards.

The fetching figure is the kernel's own high-water mark (VmHWM), of the worst daemon.
Idle is measured on the same daemons after the fetch, with the service running and its health
being checked once a second: the worst case, not a daemon that has never done anything.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from local_fleet import cpu_s, make_payload, running_lab, scratch_folder
from result import ResultWriter

FETCH_RSS_LIMIT_MIB = 150.0
IDLE_RSS_LIMIT_MIB = 80.0
IDLE_CPU_LIMIT_PERCENT = 1.0
QUIET_S = 15.0  # rumours and checks of the rollout die down


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--mib", type=int, default=1024)
    arguments.add_argument("--hosts", type=int, default=4)
    arguments.add_argument("--idle-s", type=float, default=60.0)
    asked = arguments.parse_args()
    results = ResultWriter()
    with scratch_folder() as folder:
        make_payload(folder / "tree", asked.mib << 20)
        with running_lab(folder, hosts=asked.hosts, fault_domains=2) as lab:
            pids = lab.daemon_pids()
            fresh_mib = max(status_mib(pid, "VmRSS") for pid in pids.values())
            lab.p2pctl("publish", "hello", "1.0.0", str(folder / "tree"))
            seconds = lab.roll_out("hello", "1.0.0", "20m")
            size = {"hosts": asked.hosts, "mib": asked.mib}
            peak_mib = max(status_mib(pid, "VmHWM") for pid in pids.values())
            results.add(
                "daemon-fetch-rss",
                peak_mib,
                FETCH_RSS_LIMIT_MIB,
                "MiB",
                rollout_s=round(seconds, 1),
                fresh_rss_mib=round(fresh_mib, 1),
                **size,
            )
            time.sleep(QUIET_S)  # noqa: TID251 the passing of time is what is measured
            before = {name: cpu_s(pid) for name, pid in pids.items()}
            began = time.perf_counter()
            time.sleep(asked.idle_s)  # noqa: TID251 likewise
            passed_s = time.perf_counter() - began
            share = max((cpu_s(pid) - before[name]) / passed_s for name, pid in pids.items())
            rss_mib = max(status_mib(pid, "VmRSS") for pid in pids.values())
            results.add("daemon-idle-rss", rss_mib, IDLE_RSS_LIMIT_MIB, "MiB", **size)
            results.add(
                "daemon-idle-cpu",
                share * 100,
                IDLE_CPU_LIMIT_PERCENT,
                "% of a core",
                seconds=round(passed_s, 1),
                **size,
            )
    return results.exit_code


def status_mib(pid: int, field: str) -> float:
    """One field of /proc/PID/status in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"process {pid} has no {field}: it is gone")


if __name__ == "__main__":
    sys.exit(main())
