"""Machines and cables of a lab, made from its plan; cables can be cut, healed and read."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.plan import CORE, PREFIX_BITS, Machine, Plan

__all__ = ["Count", "Network"]

_TIMEOUT_S = 60.0
# A bucket of 20 ms lets TCP fill the link; the queue behind it holds 100 ms, as a switch would.
_BUCKET_S = 0.02
_BUCKET_BYTES_MIN = 70_000  # one segment as the kernel offloads it; a smaller bucket drops it
_QUEUE_S = 0.1
_QUEUE_BYTES_MIN = 200_000
_SHOW_LINKS = ("ip", "-s", "-j", "link", "show")
# Where a machine has this module loaded, every frame on a bridge passes its packet filter, which
# costs about 5 % of the processor here and says nothing about a network of switches.
_FILTERS = Path("/proc/sys/net/bridge")


@dataclass(frozen=True)
class Count:
    """What has passed a cable, frames and their headers included."""

    up_bytes: int
    down_bytes: int


class Network:
    """Every machine a namespace, every switch a bridge; each end of a cable shaped by a tbf.

    Made inside :func:`lab.world.enter_world`, with which it ends.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def make(self) -> None:
        """Make everything; about 10 ms a machine."""
        for switch in _FILTERS.glob("bridge-nf-call-*"):
            switch.write_text("0")  # this world's own, not the machine's
        batch = [f"link add {switch} type bridge" for switch in self.plan.switches]
        batch += [f"link set {switch} up" for switch in self.plan.switches]
        for cable in self.plan.cables:
            upper_end = _upper_end(cable.lower)
            batch += [
                f"link add {_up(cable.lower)} type veth peer name {upper_end}",
                f"link set {_up(cable.lower)} master {cable.lower} up",
                f"link set {upper_end} master {cable.upper} up",
            ]
        _ip(batch)
        for machine in self.plan.machines:
            self._make_machine(machine)
        for cable in self.plan.cables:
            _shape(_up(cable.lower), cable.mbit)
            _shape(_upper_end(cable.lower), cable.mbit)

    def inside(self, machine: str, words: Sequence[object]) -> list[str]:
        """The command line *words*, run on *machine*."""
        return ["nsenter", f"--net=/run/netns/{machine}", *map(str, words)]

    def set_rate(self, machine: Machine, mbit: float) -> None:
        """Shape a machine's cable anew, both ways."""
        _shape(_port(machine.name), mbit, verb="change")
        _shape("eth0", mbit, machine=machine.name, verb="change")

    def cut(self, end: str) -> None:
        """Cut a machine off its switch, or a switch off the one above."""
        _ip([f"link set {self._end(end)} down"])

    def heal(self, end: str) -> None:
        """Undo :meth:`cut`."""
        _ip([f"link set {self._end(end)} up"])

    def counts(self) -> dict[str, Count]:
        """What has passed each machine's cable, and each switch's up, since they were made."""
        shown = {link["ifname"]: link["stats64"] for link in json.loads(_run([*_SHOW_LINKS]))}
        ends = [machine.name for machine in self.plan.machines]
        ends += [cable.lower for cable in self.plan.cables]
        # Seen from above: what comes in at the upper end went up.
        return {
            end: Count(
                up_bytes=shown[self._end(end)]["rx"]["bytes"],
                down_bytes=shown[self._end(end)]["tx"]["bytes"],
            )
            for end in ends
        }

    def forget(self) -> None:
        """Let every kernel forget what TCP learnt of its cables: the next client starts cold."""
        for machine in self.plan.machines:
            _run(["ip", "-n", machine.name, "tcp_metrics", "flush", "all"])

    def _end(self, end: str) -> str:
        return _upper_end(end) if end in self.plan.switches else _port(end)

    def _make_machine(self, machine: Machine) -> None:
        name, port = machine.name, _port(machine.name)
        _run(["ip", "netns", "add", name])
        _ip(
            [
                f"link add {port} type veth peer name eth0 netns {name}",
                f"link set {port} master {machine.switch} up",
            ]
        )
        _ip(
            [
                "link set lo up",
                f"addr add {machine.address}/{PREFIX_BITS} dev eth0",
                "link set eth0 up",
            ],
            machine=name,
        )
        _shape(port, machine.mbit)
        _shape("eth0", machine.mbit, machine=name)


def _port(machine: str) -> str:
    """The end of a machine's cable at its switch; a device's name has at most 15 characters."""
    return f"p-{machine}"[:15]


def _up(switch: str) -> str:
    return f"u-{switch}"


def _upper_end(switch: str) -> str:
    assert switch != CORE, "nothing is above the core"
    return f"d-{switch}"


def _shape(device: str, mbit: float, *, machine: str | None = None, verb: str = "add") -> None:
    per_s = mbit * 1e6 / 8
    bucket = max(_BUCKET_BYTES_MIN, int(per_s * _BUCKET_S))
    queue = max(_QUEUE_BYTES_MIN, int(per_s * _QUEUE_S))
    words = ["tc", *(("-n", machine) if machine else ())]
    words += ["qdisc", verb, "dev", device, "root", "tbf", "rate", f"{int(mbit * 1e6)}bit"]
    _run([*words, "burst", str(bucket), "limit", str(queue)])


def _ip(lines: Sequence[str], *, machine: str | None = None) -> None:
    """Run the lines of a batch of ``ip``."""
    words = ["ip", *(("-n", machine) if machine else ()), "-batch", "-"]
    subprocess.run(words, input="\n".join(lines) + "\n", check=True, text=True, timeout=_TIMEOUT_S)


def _run(words: Sequence[str]) -> str:
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, timeout=_TIMEOUT_S)
    return done.stdout
