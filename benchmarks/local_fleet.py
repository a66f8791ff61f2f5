"""A fleet in a temporary folder for one benchmark, driven by the real ``p2pctl``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from p2pctl.fleet_dir import FleetDir

__all__ = [
    "Lab",
    "cpu_s",
    "gone_afterwards",
    "make_payload",
    "running_lab",
    "scratch_folder",
    "write_random",
]

BIN = Path(sys.executable).parent
HELLO = Path(__file__).resolve().parent.parent / "examples" / "hello"
BLOCK_BYTES = 1 << 20


class Lab:
    """A running fleet; every method is one command of ``p2pctl``, whose failure is an error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def p2pctl(self, *words: str) -> dict[str, object]:
        """Run a command and return its document; its messages go to our stderr."""
        argv = [BIN / "p2pctl", "--dir", self.folder, *words, "-o", "json"]
        done = subprocess.run(
            argv, check=False, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
        )
        if done.returncode != 0:
            raise SystemExit(f"p2pctl {' '.join(words)} exits {done.returncode}: {done.stdout}")
        return json.loads(done.stdout)

    def roll_out(self, service: str, version: str, timeout: str) -> float:
        """Roll a published version out everywhere; return the seconds it took."""
        began = time.perf_counter()
        rollout = self.p2pctl("rollout", "apply", service, version, "--env", "lab", "--mf", "web")
        self.p2pctl("rollout", "status", str(rollout["id"]), "--timeout", timeout)
        return time.perf_counter() - began

    def egress_bytes(self, service: str, version: str) -> int:
        """What the origin has sent of one release."""
        with FleetDir(self.folder).connect() as api:
            return api.dealt_bytes(service, version)

    def daemon_pids(self) -> dict[str, int]:
        """Process id of each host's daemon."""
        names = json.loads((self.folder / "fleet.json").read_text())["hosts"]
        return {name: self._pid(name) for name in names}

    def control_plane_pid(self) -> int:
        """Process id of the control plane."""
        return self._pid("control-plane")

    def _pid(self, name: str) -> int:
        return int(json.loads((self.folder / "run" / f"{name}.json").read_text())["pid"])


@contextmanager
def scratch_folder() -> Generator[Path]:
    """A private folder that is gone afterwards, read-only trees included."""
    folder = Path(tempfile.mkdtemp(prefix="p2pdeploy-bench-"))
    with gone_afterwards(folder):
        yield folder


@contextmanager
def gone_afterwards(folder: Path) -> Generator[Path]:
    """*folder*, made if need be, and deleted at the end with everything in it."""
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        for path, folders, _ in os.walk(folder):
            for name in folders:
                if not os.path.islink(os.path.join(path, name)):
                    os.chmod(os.path.join(path, name), 0o700)
        shutil.rmtree(folder)


@contextmanager
def running_lab(folder: Path, *, hosts: int, fault_domains: int) -> Generator[Lab]:
    """A fleet in ``folder/fleet``, taken down afterwards whatever happened."""
    lab = Lab(folder / "fleet")
    try:
        size = ("--hosts", str(hosts), "--fault-domains", str(fault_domains))
        lab.p2pctl("up", *size, "--detach")
        yield lab
    finally:
        if (lab.folder / "fleet.json").exists():
            lab.p2pctl("down")


def make_payload(tree: Path, size_bytes: int) -> Path:
    """The hello service with *size_bytes* of random data beside it; return the data's path."""
    shutil.copytree(HELLO, tree, ignore=shutil.ignore_patterns("__pycache__"))
    write_random(tree / "data.bin", size_bytes)
    return tree / "data.bin"


def write_random(path: Path, size_bytes: int) -> None:
    """*size_bytes* that neither compress nor repeat; a multiple of 1 MiB."""
    with path.open("wb") as file:
        for _ in range(size_bytes // BLOCK_BYTES):
            file.write(os.urandom(BLOCK_BYTES))


def cpu_s(pid: int) -> float:
    """User and system time of a process, all its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
