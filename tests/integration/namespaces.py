"""Machines of a network that is not loopback: network namespaces around one bridge."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

__all__ = ["Network", "network", "why_not"]

_PREFIX_BITS = 24
_COMMAND_TIMEOUT_S = 30.0


class Network:
    """Machines by name, each a network namespace with one address.

    Args:
        addresses: Every machine's, all of one subnet.
    """

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = dict(addresses)
        self._mark = f"p2p{os.getpid()}"

    def __repr__(self) -> str:
        return f"<Network {self._addresses}>"

    def inside(self, machine: str, words: Sequence[object]) -> list[str]:
        """The command line *words*, run on *machine*."""
        path = f"/run/netns/{self._space(machine)}"
        return ["nsenter", f"--net={path}", *map(str, words)]

    def make(self) -> None:
        """Make the namespaces, cable each to the bridge, and give it its address."""
        bridge = self._space("bridge")
        self._add_space(bridge)
        _ip("-n", bridge, "link", "add", "br0", "type", "bridge")
        _ip("-n", bridge, "link", "set", "br0", "up")
        for number, (machine, address) in enumerate(self._addresses.items()):
            space, port = self._space(machine), f"port{number}"
            self._add_space(space)
            _ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", port, "netns", bridge)
            _ip("-n", bridge, "link", "set", port, "master", "br0", "up")
            _ip("-n", space, "addr", "add", f"{address}/{_PREFIX_BITS}", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")

    def remove(self) -> None:
        """Remove what :meth:`make` made; cables go with their ends."""
        for machine in (*self._addresses, "bridge"):
            subprocess.run(["ip", "netns", "del", self._space(machine)], check=False)

    def _space(self, machine: str) -> str:
        return f"{self._mark}-{machine}"

    def _add_space(self, space: str) -> None:
        _ip("netns", "add", space)
        _ip("-n", space, "link", "set", "lo", "up")


@contextmanager
def network(addresses: Mapping[str, str]) -> Generator[Network]:
    """A network of machines with these addresses; removed at the end."""
    net = Network(addresses)
    try:
        net.make()
        yield net
    finally:
        net.remove()


def why_not() -> str:
    """Why there can be no network here; empty when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [program for program in ("ip", "nsenter") if not shutil.which(program)]
    if missing:
        return f"not installed: {', '.join(missing)}: apt-get install iproute2 util-linux"
    try:
        with network({"probe": "10.77.255.1"}):
            return ""
    except subprocess.CalledProcessError as error:
        return f"this kernel makes no network namespaces for us: {error.stderr.strip()}"


def _ip(*words: str) -> None:
    subprocess.run(
        ["ip", *words], check=True, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S
    )
