"""zsync and casync, each as its manual has it, for the same change over the same cable."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.network import Network
from lab.plan import ORIGIN
from lab.waiting import wait_for

__all__ = ["TOOLS", "Tool", "serving"]

_SERVER = Path(__file__).with_name("range_server.py")
_PORT = 8080
_TIMEOUT_S = 240.0

Tool = Callable[[Network, str, Path, Path, Path], None]
"""Network, host, folder with the old and the new version, its own one, what is served."""


@contextmanager
def serving(network: Network, folder: Path) -> Generator[None]:
    """Serve *folder* over HTTP from the origin while inside."""
    words = [sys.executable, _SERVER, network.plan.origin.address, _PORT, folder]
    with subprocess.Popen(network.inside(ORIGIN, words)) as server:
        try:
            wait_for((folder / "ready").exists, "the HTTP server listens", 30.0)
            yield
        finally:
            server.kill()


def _zsync(network: Network, host: str, versions: Path, own: Path, served: Path) -> None:
    """Trees as tar archives: zsync knows single files."""
    old, new = own / "old.tar", served / "new.tar"
    for name, archive in (("old", old), ("new", new)):
        order = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0"]
        _run(["tar", *order, "-C", versions / name, "-cf", archive, "."])
    _run(["zsyncmake", "-u", new.name, "-o", served / "new.zsync", new])
    with serving(network, served):
        words = ["zsync", "-i", old, "-o", own / "new.tar", _url(network, "new.zsync")]
        _run(network.inside(host, words), folder=own)
    _same(own / "new.tar", new)


def _casync(network: Network, host: str, versions: Path, own: Path, served: Path) -> None:
    store = served / "store.castr"
    make = ["casync", "make", f"--store={store}", "--without=all"]
    _run([*make, served / "new.caidx", versions / "new"])
    with serving(network, served):
        words = ["casync", "extract", "--without=all", f"--seed={versions / 'old'}"]
        words += [f"--store={_url(network, store.name)}", _url(network, "new.caidx"), own / "new"]
        _run(network.inside(host, [*words, "--seed-output=no"]), folder=own)
    for path in (versions / "new").iterdir():
        _same(own / "new" / path.name, path)


TOOLS: dict[str, Tool] = {"zsync": _zsync, "casync": _casync}


def _url(network: Network, name: str) -> str:
    return f"http://{network.plan.origin.address}:{_PORT}/{name}"


def _run(words: Sequence[object], folder: Path | None = None) -> None:
    if not shutil.which(str(words[0])):
        raise SystemExit(f"{words[0]} is not installed (see benchmarks/README.md)")
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{words} exits {done.returncode}: {done.stdout}{done.stderr}")


def _same(one: Path, other: Path) -> None:
    if subprocess.run(["cmp", "-s", one, other], check=False).returncode != 0:
        raise SystemExit(f"{one} is not {other}: the tool failed")
