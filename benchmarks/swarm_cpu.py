"""A large release on loopback, unshaped: what daemons need for it, beside bare libtorrent.

Three hosts fetch one payload (10 GB unless asked otherwise) as a rollout.  Then as many bare
libtorrent sessions, with the daemon's own settings and TLS, fetch as many bytes from one seed and
from each other.  Neither the seed nor the control plane counts: both only bring the bytes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from daemon_memory import status_mib
from local_fleet import cpu_s, gone_afterwards, make_payload, running_lab, scratch_folder
from result import ResultWriter
from swarm_tls import NET, answer, join, make_setups, port_of, say, tell, wait_until

HOSTS = 3
RSS_LIMIT_MIB = 200.0
CPU_LIMIT_X = 1.3
PUBLISH_LIMIT_MB_PER_S = 200.0
COPIES = 2 + HOSTS  # the payload, the origin's, and each host's


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--mib", type=int, default=9_537, help="default: 10 GB")
    arguments.add_argument("--role", help=argparse.SUPPRESS)  # ours: number of a bare session
    arguments.add_argument("--setup", type=Path, help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.role:
        return exchange(int(asked.role), asked.setup)
    size_bytes = asked.mib << 20
    results = ResultWriter()
    with scratch_folder() as folder:
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < COPIES * size_bytes:
            raise SystemExit(f"{folder}: {free_bytes} bytes free, {COPIES * size_bytes} needed")
        with gone_afterwards(folder / "ours") as place:
            ours_s = measure_ours(place, size_bytes, results)
        with gone_afterwards(folder / "bare") as place:
            bare_s = measure_bare(place, size_bytes)
    moved_gb = HOSTS * size_bytes / 1e9
    results.add(
        "swarm-large-cpu",
        ours_s / bare_s,
        CPU_LIMIT_X,
        "x",
        hosts=HOSTS,
        mib=asked.mib,
        daemons_s_per_gb=round(ours_s / moved_gb, 2),
        bare_s_per_gb=round(bare_s / moved_gb, 2),
    )
    return results.exit_code


def measure_ours(folder: Path, size_bytes: int, results: ResultWriter) -> float:
    """CPU seconds of all daemons for a rollout; reports memory and the publish on the way."""
    make_payload(folder / "tree", size_bytes)
    with running_lab(folder, hosts=HOSTS, fault_domains=1) as lab:
        began = time.monotonic()
        lab.p2pctl("publish", "hello", "1.0.0", str(folder / "tree"))
        rate = size_bytes / 1e6 / (time.monotonic() - began)
        pids = lab.daemon_pids().values()
        before_s = sum(map(cpu_s, pids))
        took_s = lab.roll_out("hello", "1.0.0", "60m")
        spent_s = sum(map(cpu_s, pids)) - before_s
        rss_mib = max(status_mib(pid, "VmHWM") for pid in pids)
    of = {"hosts": HOSTS, "mib": size_bytes >> 20}
    # A time, because less is better in every figure here: seconds for 200 MB, at most one.
    seconds = PUBLISH_LIMIT_MB_PER_S / rate
    results.add("publish-large", seconds, 1.0, "s for 200 MB", mb_per_s=round(rate, 1), **of)
    results.add("swarm-large-rss", rss_mib, RSS_LIMIT_MIB, "MiB", rollout_s=round(took_s, 1), **of)
    return spent_s


def measure_bare(folder: Path, size_bytes: int) -> float:
    """CPU seconds of as many bare sessions; number 0 is the seed, and does not count."""
    make_setups(folder, size_bytes)
    with ExitStack() as running:
        sessions = [running.enter_context(_session(n, folder)) for n in range(1 + HOSTS)]
        running.callback(lambda: [session.kill() for session in sessions])
        addresses = [json.loads(answer(session))["address"] for session in sessions]
        for session in sessions:
            tell(session, json.dumps(addresses))
        for session in sessions:
            answer(session)  # it has everything
        for session in sessions:
            tell(session, "stop")
        return sum(json.loads(answer(session))["cpu_s"] for session in sessions[1:])


def _session(number: int, folder: Path) -> subprocess.Popen[str]:
    words = ["--role", str(number), "--setup", str(folder / "tls.json")]
    argv = [sys.executable, __file__, *words]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def exchange(number: int, setup_path: Path) -> int:
    """One bare session: fetch from those whose addresses are told, and serve until told to stop."""
    setup = json.loads(setup_path.read_text())
    is_seed, data = number == 0, Path(setup["data"])
    target = data if is_seed else data.with_name(f"fetched{number}")
    session, handle = join(f"{NET}.{1 + number}", setup, target, have=is_seed)
    wait_until(lambda: port_of(session))
    say(address=[f"{NET}.{1 + number}", port_of(session)])
    peers = json.loads(sys.stdin.readline())
    begin_s = time.process_time()
    for address, port in peers[:number]:  # each pair connects once
        handle.connect_peer((address, port))
    wait_until(lambda: handle.status().is_seeding)
    say(complete=True)
    sys.stdin.readline()
    say(cpu_s=time.process_time() - begin_s)
    return 0


if __name__ == "__main__":
    sys.exit(main())
