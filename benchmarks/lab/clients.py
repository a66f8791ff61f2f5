"""Other ways to bring a file to hosts, each as its users run it: defaults, on the same cables."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import libtorrent as lt

from lab.costs import Costs
from lab.network import Network
from lab.plan import ORIGIN, Machine
from lab.waiting import wait_for

__all__ = ["CLIENTS", "PublicClients", "make_torrent", "why_not"]

_STOCK = Path(__file__).with_name("stock_libtorrent.py")
_HTTP = Path(__file__).with_name("serve_file.py")
_HTTP_PORT = 8080
_DONE = "done"
_SEED_S = 30.0


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What one host is to do."""

    machine: Machine
    origin: Machine
    folder: Path  # the machine's own
    payload: Path  # where the origin has it
    torrent: Path
    then: Path  # a program to run when everything is there

    @property
    def data(self) -> Path:
        return self.folder / "data"


@dataclass(frozen=True, kw_only=True)
class _Client:
    """``package``: what Debian calls it; empty where it comes with us.

    ``ends``: when it has everything, so that its memory is not read any more.
    """

    program: str
    package: str
    command: Callable[[_Job], Sequence[object]]
    is_torrent: bool = True
    ends: bool = False


def _aria2(job: _Job) -> Sequence[object]:
    return (
        *("aria2c", "--quiet", "--no-conf", f"--dir={job.data}"),
        *(f"--interface={job.machine.address}", "--seed-ratio=0.0", "--file-allocation=none"),
        *(f"--on-bt-download-complete={job.then}", job.torrent),
    )


def _transmission(job: _Job) -> Sequence[object]:
    config = job.folder / "config"
    config.mkdir()
    # Names and an address are all that is said; the rest is what it writes itself.
    settings = {
        "bind-address-ipv4": job.machine.address,
        "script-torrent-done-enabled": True,
        "script-torrent-done-filename": str(job.then),
    }
    (config / "settings.json").write_text(json.dumps(settings))
    return (
        *("transmission-cli", f"--config-dir={config}", f"--download-dir={job.data}"),
        *(f"--finish={job.then}", job.torrent),
    )


def _libtorrent(job: _Job) -> Sequence[object]:
    done = job.folder / _DONE
    return (sys.executable, _STOCK, "fetch", job.machine.address, job.data, job.torrent, done)


def _curl(job: _Job) -> Sequence[object]:
    url = f"http://{job.origin.address}:{_HTTP_PORT}/{job.payload.name}"
    fetch = 'curl --silent --show-error --fail --output "$1" "$2" && "$3" && exec sleep infinity'
    return ("sh", "-c", fetch, "sh", job.data / job.payload.name, url, job.then)


CLIENTS = {
    "aria2": _Client(program="aria2c", package="aria2", command=_aria2),
    "transmission": _Client(
        program="transmission-cli", package="transmission-cli", command=_transmission
    ),
    "libtorrent": _Client(program=sys.executable, package="", command=_libtorrent),
    "curl": _Client(program="curl", package="curl", command=_curl, is_torrent=False, ends=True),
}


def why_not(names: Sequence[str]) -> str:
    """Why these clients cannot run here; empty when they can."""
    wanted = [CLIENTS[name] for name in names]
    missing = [client.package for client in wanted if not shutil.which(client.program)]
    if not missing:
        return ""
    return f"not installed: {', '.join(missing)}: apt-get install {' '.join(missing)}"


def make_torrent(payload: Path, piece_size_bytes: int, announce: str, torrent: Path) -> str:
    """Write a v1 torrent of one file; its info-hash in hexadecimal digits."""
    entry = lt.create_file_entry(payload.name, payload.stat().st_size)
    made = lt.create_torrent([entry], piece_size_bytes, lt.create_torrent.v1_only)
    made.add_tracker(announce)
    lt.set_piece_hashes(cast(Any, made), str(payload.parent))
    torrent.write_bytes(lt.bencode(made.generate()))
    return str(lt.torrent_info(str(torrent)).info_hashes().v1)


class PublicClients:
    """One client on every host, and what it fetches from on the origin.

    Args:
        client: One of ``CLIENTS``.
        network: Made.
        folder: Of this measurement alone.
        payload: On the origin; to be fetched.
        torrent: Of it, for those that read one.
    """

    def __init__(
        self, client: str, network: Network, folder: Path, payload: Path, torrent: Path
    ) -> None:
        self._client = CLIENTS[client]
        self._network = network
        self._folder = folder
        self._payload = payload
        self._torrent = torrent
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.costs = Costs()

    @property
    def has_ended(self) -> bool:
        """True for a client that is gone once it has everything."""
        return self._client.ends

    def seed(self) -> None:
        """Start the origin's side, libtorrent or a web server; returns when it listens."""
        address, ready = self._network.plan.origin.address, self._folder / "seeding"
        words: tuple[object, ...] = (_HTTP, address, _HTTP_PORT, self._payload.parent, ready)
        if self._client.is_torrent:
            words = (_STOCK, "seed", address, self._payload.parent, self._torrent, ready)
        self._start(ORIGIN, (sys.executable, *words))
        wait_for(ready.exists, "the seed is ready", _SEED_S)

    def begin(self) -> None:
        """Start the client on every host."""
        for machine in self._network.plan.hosts:
            folder = self._folder / machine.name
            (folder / "data").mkdir(parents=True)
            job = _Job(
                machine=machine,
                origin=self._network.plan.origin,
                folder=folder,
                payload=self._payload,
                torrent=self._torrent,
                then=_write_then(folder),
            )
            self.costs.begin(self._start(machine.name, self._client.command(job)))

    def wait_done(self, timeout_s: float) -> dict[str, float]:
        """When each host had everything, in seconds of the Unix epoch."""
        return {
            machine.name: float(
                wait_for(
                    lambda path=self._folder / machine.name / _DONE: (
                        path.exists() and path.read_text().strip()
                    ),
                    f"{machine.name} has everything",
                    timeout_s,
                )
            )
            for machine in self._network.plan.hosts
        }

    def end(self) -> None:
        """Kill everything."""
        for run in self._running.values():
            run.kill()
            run.wait()
        self._running.clear()

    def _start(self, machine: str, words: Sequence[object]) -> subprocess.Popen[bytes]:
        with (self._folder / f"{machine}.log").open("wb") as log:
            process = self._running[machine] = subprocess.Popen(
                self._network.inside(machine, words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"HOME": str(self._folder / machine), "PATH": "/usr/bin:/bin"},
            )
        return process


def _write_then(folder: Path) -> Path:
    """A program that writes down the moment in which it runs."""
    then = folder / "then"
    then.write_text(
        f"#!/bin/sh\ndate +%s.%N > {folder}/.{_DONE} && mv {folder}/.{_DONE} {folder}/{_DONE}\n"
    )
    then.chmod(then.stat().st_mode | stat.S_IXUSR)
    return then
