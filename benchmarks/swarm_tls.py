"""What TLS costs the swarm: CPU seconds of sender and receiver together per GB, TLS minus plain.

Two processes of libtorrent with the daemon's own settings move one release over loopback, once
plain and once as an SSL torrent, in turns; the figure is the median of the pairs' differences.
CPU time and not wall time, so that other work on the machine disturbs little.  All write over one
file: the first touch of memory costs 0 to 3 CPU s per GB here, as the host of the machine likes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import libtorrent as lt
from local_fleet import scratch_folder, write_random
from result import ResultWriter

from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.manifest import Blob, Manifest, digest_of
from p2pdeploy.merkle import PieceTree
from p2pdeploy.payload.layout import piece_size_for
from p2pdeploy.payload.torrent import piece_count, torrent_bytes
from p2pdeploy.swarm.identity import SwarmIdentity, present
from p2pdeploy.swarm.settings import DISK_IO, session_settings
from p2pdeploy.swarm.torrent_params import params_of
from p2pdeploy.trust.certificates import (
    issue_swarm_leaf,
    key_to_pem,
    new_authority,
    new_key,
    signing_request,
)

LIMIT_S_PER_GB = 1.5
NET = f"127.{os.getppid() % 200 + 20}.79"  # of the two processes, whose parent is the same
BLOCK_BYTES = 1 << 20
PATIENCE_S = 600
POLL_S = 0.05
MODES = ("plain", "tls")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--mib", type=int, default=1024)
    arguments.add_argument("--pairs", type=int, default=5)
    arguments.add_argument("--role", help=argparse.SUPPRESS)  # ours, for the two processes
    arguments.add_argument("--setup", help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.role:
        setup = json.loads(Path(asked.setup).read_text())
        return seed(setup) if asked.role == "seed" else fetch(setup)
    results = ResultWriter()
    with scratch_folder() as folder:
        make_setups(folder, asked.mib << 20)
        moved_gb = (asked.mib << 20) / 1e9
        measure(folder, MODES[0])  # its file is written over: memory is touched first once, here
        costs: dict[str, list[float]] = {mode: [] for mode in MODES}
        for number in range(asked.pairs):
            for mode in MODES if number % 2 == 0 else reversed(MODES):
                costs[mode].append(measure(folder, mode) / moved_gb)
    differences = [tls - plain for plain, tls in zip(costs["plain"], costs["tls"], strict=True)]
    results.add(
        "swarm-tls-cpu",
        statistics.median(differences),
        LIMIT_S_PER_GB,
        "CPU s/GB",
        pairs=[round(difference, 2) for difference in differences],
        plain=round(statistics.median(costs["plain"]), 2),
        tls=round(statistics.median(costs["tls"]), 2),
        mib=asked.mib,
    )
    return results.exit_code


def make_setups(folder: Path, size_bytes: int) -> None:
    """Random data, its two torrents and the certificates, as files for the two processes."""
    data = folder / "data"
    write_random(data, size_bytes)
    manifest = manifest_of(data, size_bytes)
    digest = digest_of(manifest.to_bytes())
    now = dt.datetime.now(dt.UTC)
    authority, key = new_authority("swarm CA", now=now), new_key()
    leaf = issue_swarm_leaf(authority, signing_request(key), "h01", now=now)
    for mode in MODES:
        torrent = folder / f"{mode}.torrent"
        torrent.write_bytes(
            torrent_bytes(manifest, digest, authority.pem if mode == "tls" else b"")
        )
        setup = {
            "torrent": str(torrent),
            "pieces": piece_count(manifest),
            "data": str(data),
            "certificate": leaf.decode() if mode == "tls" else "",
            "key": key_to_pem(key).decode(),
        }
        (folder / f"{mode}.json").write_text(json.dumps(setup))


def manifest_of(data: Path, size_bytes: int) -> Manifest:
    piece_size_bytes = piece_size_for(size_bytes)
    tree = PieceTree(piece_size_bytes)
    with data.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            tree.feed(block)
    root, layer = tree.finish()
    blob = Blob(
        path="data",
        size_bytes=size_bytes,
        digest=Digest("00" * 32),
        pieces_root=root,
        piece_layer=layer,
    )
    return Manifest(
        service=ServiceName("bench"),
        piece_size_bytes=piece_size_bytes,
        entries=(),
        blobs=(blob,),
        chunk_index=Digest("00" * 32),
        chunk_index_bytes=0,
    )


def measure(folder: Path, mode: str) -> float:
    """CPU seconds of both processes for one transfer."""
    with role("seed", folder / f"{mode}.json") as seeder:
        port = json.loads(answer(seeder))["port"]
        with role("fetch", folder / f"{mode}.json") as fetcher:
            tell(fetcher, str(port))
            received_s = json.loads(answer(fetcher))["cpu_s"]
        tell(seeder, "stop")
        return received_s + json.loads(answer(seeder))["cpu_s"]


def role(name: str, setup: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, __file__, "--role", name, "--setup", str(setup)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a process of the transfer ended with {process.wait()}")
    return line


def seed(setup: dict[str, Any]) -> int:
    """Serve until told to stop."""
    session, handle = join(f"{NET}.1", setup, Path(setup["data"]), have=True)
    wait_until(lambda: handle.status().is_seeding and port_of(session))
    begin_s = time.process_time()
    say(port=port_of(session))
    sys.stdin.readline()
    say(cpu_s=time.process_time() - begin_s)
    return 0


def fetch(setup: dict[str, Any]) -> int:
    """Get everything from the seed whose port is told, into a file that is there already."""
    target = Path(setup["data"]).with_name("fetched")
    session, handle = join(f"{NET}.2", setup, target, have=False)
    port = int(sys.stdin.readline())
    wait_until(lambda: port_of(session))
    begin_s = time.process_time()
    handle.connect_peer((f"{NET}.1", port))
    wait_until(lambda: handle.status().is_seeding)
    say(cpu_s=time.process_time() - begin_s)
    return 0


def join(address: str, setup: dict[str, Any], data: Path, *, have: bool) -> tuple[Any, Any]:
    is_tls = bool(setup["certificate"])
    params: Any = lt.session_params()
    # Only here is there a plain port, on loopback: the daemon's settings know none.
    plain = {} if is_tls else {"listen_interfaces": f"{address}:0"}
    params.settings = session_settings(address, 0) | plain
    params.disk_io_constructor = DISK_IO
    session: Any = lt.session(params)
    torrent = Path(setup["torrent"]).read_bytes()
    handle = session.add_torrent(
        params_of(torrent, {"data": data}, [have] * setup["pieces"], {}, wants_all=True)
    )
    if is_tls:
        present(handle, identity_in(setup))
    return session, handle


def identity_in(setup: dict[str, Any]) -> SwarmIdentity:
    return SwarmIdentity(
        certificate_pem=setup["certificate"].encode(),
        key_pem=setup["key"].encode(),
        authority_pem=b"",  # it stands in the torrent
    )


def port_of(session: Any) -> int:
    return session.ssl_listen_port() or session.listen_port()


def wait_until(is_done: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_done():
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing came of it within {PATIENCE_S} s")
        time.sleep(POLL_S)  # noqa: TID251 alerts would cost both sides CPU for nothing


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    sys.exit(main())
