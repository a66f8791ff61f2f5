"""Public BitTorrent clients, each as its users run it: defaults, on the same bytes and cables."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import libtorrent as lt

from lab.network import Network
from lab.plan import ORIGIN, Machine
from lab.waiting import wait_for

__all__ = ["CLIENTS", "PublicSwarm", "make_torrent"]

_STOCK = Path(__file__).with_name("stock_libtorrent.py")
_DONE = "done"
_SEED_S = 30.0

Command = Callable[[Machine, Path, Path, Path], list[str]]
"""Machine, its folder, the torrent, the program to run when everything is there."""


def _aria2(machine: Machine, folder: Path, torrent: Path, then: Path) -> list[str]:
    return [
        *(
            "aria2c",
            "--quiet",
            "--no-conf",
            f"--dir={folder / 'data'}",
            f"--interface={machine.address}",
        ),
        *("--seed-ratio=0.0", "--file-allocation=none", f"--on-bt-download-complete={then}"),
        str(torrent),
    ]


def _transmission(machine: Machine, folder: Path, torrent: Path, then: Path) -> list[str]:
    config = folder / "config"
    config.mkdir()
    # Names and an address are all that is said; the rest is what it writes itself.
    settings = {
        "bind-address-ipv4": machine.address,
        "script-torrent-done-enabled": True,
        "script-torrent-done-filename": str(then),
    }
    (config / "settings.json").write_text(json.dumps(settings))
    return [
        *("transmission-cli", f"--config-dir={config}", f"--download-dir={folder / 'data'}"),
        *(f"--finish={then}", str(torrent)),
    ]


def _libtorrent(machine: Machine, folder: Path, torrent: Path, then: Path) -> list[str]:
    del then
    data, done = str(folder / "data"), str(folder / _DONE)
    return [sys.executable, str(_STOCK), "fetch", machine.address, data, str(torrent), done]


CLIENTS: dict[str, Command] = {
    "aria2": _aria2,
    "transmission": _transmission,
    "libtorrent": _libtorrent,
}
PROGRAMS = {"aria2": "aria2c", "transmission": "transmission-cli"}


def make_torrent(payload: Path, piece_size_bytes: int, announce: str, torrent: Path) -> str:
    """Write a v1 torrent of one file; its info-hash in hexadecimal digits."""
    entry = lt.create_file_entry(payload.name, payload.stat().st_size)
    made = lt.create_torrent([entry], piece_size_bytes, lt.create_torrent.v1_only)
    made.add_tracker(announce)
    lt.set_piece_hashes(cast(Any, made), str(payload.parent))
    torrent.write_bytes(lt.bencode(made.generate()))
    return str(lt.torrent_info(str(torrent)).info_hashes().v1)


class PublicSwarm:
    """One client on every host, and a stock libtorrent that seeds from the origin."""

    def __init__(self, network: Network, folder: Path) -> None:
        self._network = network
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def seed(self, payload: Path, torrent: Path) -> None:
        """Start it; returns when it listens."""
        address = self._network.plan.origin.address
        words = [sys.executable, _STOCK, "seed", address, payload.parent, torrent]
        self._start(ORIGIN, [*map(str, words), str(self._folder / "seeding")])
        wait_for((self._folder / "seeding").exists, "the seed is ready", _SEED_S)

    def begin(self, client: str, torrent: Path) -> None:
        """Start *client* on every host."""
        program = PROGRAMS.get(client)
        if program is not None and not shutil.which(program):
            raise SystemExit(f"{program} is not installed (see benchmarks/README.md)")
        for machine in self._network.plan.hosts:
            folder = self._folder / machine.name
            (folder / "data").mkdir(parents=True)
            words = CLIENTS[client](machine, folder, torrent, _write_then(folder))
            self._start(machine.name, words)

    def pids(self) -> dict[str, int]:
        """Of the clients."""
        return {name: run.pid for name, run in self._running.items() if name != ORIGIN}

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

    def _start(self, machine: str, words: list[str]) -> None:
        with (self._folder / f"{machine}.log").open("wb") as log:
            self._running[machine] = subprocess.Popen(
                self._network.inside(machine, words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"HOME": str(self._folder / machine), "PATH": "/usr/bin:/bin"},
            )


def _write_then(folder: Path) -> Path:
    """A program that writes down the moment in which it runs."""
    then = folder / "then"
    then.write_text(
        f"#!/bin/sh\ndate +%s.%N > {folder}/.{_DONE} && mv {folder}/.{_DONE} {folder}/{_DONE}\n"
    )
    then.chmod(then.stat().st_mode | stat.S_IXUSR)
    return then
