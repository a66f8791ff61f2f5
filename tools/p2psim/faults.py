"""Faults over time: what dies, stops, is cut off or tells the wrong time, until the world heals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from p2pdeploy.ids import HostName, ServiceName
from p2psim.control import NAME as CONTROL
from p2psim.control import SimControl
from p2psim.host import SimHost
from p2psim.network import Cut, Network
from p2psim.options import Options, rng_for
from p2psim.truth import Truth
from p2psim.world import World

__all__ = ["Faults"]


class Faults:
    """Brings the faults of one seed over its world."""

    def __init__(
        self,
        options: Options,
        world: World,
        network: Network,
        hosts: Mapping[HostName, SimHost],
        control: SimControl,
        truth: Truth,
    ) -> None:
        self._options, self._world, self._network = options, world, network
        self._hosts, self._control, self._truth = hosts, control, truth
        self._rng = rng_for(options.seed, "faults")

    def schedule(self) -> None:
        """Put every fault of the seed on the heap, and the end of them."""
        options, rng = self._options, self._rng
        names = sorted(self._hosts)
        last_s = options.faults_until_s
        for _ in range(options.crashes):
            host = self._hosts[rng.choice(names)]
            self._down(host, rng.uniform(8.0, last_s), rng.uniform(1.0, 40.0), host.crash)
        for _ in range(options.reboots):
            host = self._hosts[rng.choice(names)]
            self._down(host, rng.uniform(8.0, last_s), rng.uniform(5.0, 120.0), host.reboot)
        for _ in range(options.pauses):
            host = self._hosts[rng.choice(names)]
            self._world.at(rng.uniform(8.0, last_s), partial(host.pause, rng.uniform(2.0, 40.0)))
        for _ in range(options.regressions):
            host = self._hosts[rng.choice(names)]
            dies = partial(host.regress, ServiceName("web"), rng.uniform(5.0, 60.0))
            self._world.at(rng.uniform(15.0, last_s), dies)
        for _ in range(options.partitions):
            self._world.at(rng.uniform(8.0, last_s), partial(self.cut, rng.uniform(5.0, 60.0)))
        for _ in range(options.control_crashes):
            at_s = rng.uniform(8.0, last_s)
            self._world.at(at_s, self._control.crash)
            self._world.at(at_s + rng.uniform(2.0, 60.0), self._control.restart)
        for name in rng.sample(names, options.unsynchronised_hosts):
            self._hosts[name].synchronised = False
            self._hosts[name].clock_offset_s = rng.uniform(-3600, 3600)
        self._world.at(last_s, self._heal)

    def _down(self, host: SimHost, at_s: float, for_s: float, how: Callable[[], None]) -> None:
        def fall() -> None:
            if host.up:
                how()
                self._world.after(for_s, host.boot_if_down)

        self._world.at(at_s, fall)

    def cut(self, for_s: float) -> None:
        """Part the cell in two, sometimes along a fault domain, sometimes one way only."""
        rng, names = self._rng, [*sorted(self._hosts), CONTROL]
        kind = rng.choice(["split", "control", "fault-domain", "one-way"])
        if kind == "control":
            side = frozenset({CONTROL})
        elif kind == "fault-domain":
            domain = rng.choice(sorted({h.host.fault_domain for h in self._hosts.values()}))
            side = frozenset(n for n, h in self._hosts.items() if h.host.fault_domain == domain)
        else:
            side = frozenset(rng.sample(names, rng.randrange(1, len(names))))
        rest = frozenset(names) - side
        cuts = [Cut(side, rest)] if kind == "one-way" else [Cut(side, rest), Cut(rest, side)]
        self._truth.happened(f"partition: {kind}")
        self._world.note(f"partition {kind}: {' '.join(sorted(side))}")
        for cut in cuts:
            self._network.cut(cut)
            self._world.after(for_s, partial(self._network.mend, cut))

    def _heal(self) -> None:
        """From here on nothing new goes wrong, and what is down or paused comes back at once."""
        self._world.note("healed")
        self._network.heal()
        self._control.restart()
        for host in self._hosts.values():
            host.synchronised, host.clock_offset_s = True, 0.0
            host.resume()
            host.boot_if_down()
