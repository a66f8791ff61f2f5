"""What happens to a world over time: rollouts, an operator, faults, and then peace."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from p2pdeploy.gossip.anti_entropy import delegates_of
from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName, ServiceName, Version
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.gossip import Member
from p2pdeploy.messages.orders import Build
from p2pdeploy.planning.conductor import latest
from p2pdeploy.planning.planner import Limits
from p2pdeploy.topology import Host
from p2pdeploy.trust.envelope import HmacKeyring
from p2psim.control import NAME as CONTROL
from p2psim.control import SimControl
from p2psim.host import SimHost
from p2psim.network import Cut, Network
from p2psim.options import Options, rng_for
from p2psim.processes import Behaviour
from p2psim.trust import CachingVerifier
from p2psim.truth import Truth
from p2psim.world import World

__all__ = ["SERVICE", "Scenario"]

SERVICE = ServiceName("web")
CELL = CellId("lab.web.c0")
TICK_S = 0.5
SYNC_S = 1.0
START_TIMEOUT_S = 8.0


def _build(version: str) -> Build:
    return Build(version=Version(version), digest=digest_of(version.encode()))


BUILDS = {version: _build(version) for version in ("1", "2", "3")}


class Scenario:
    """One world, wired up and ready to run."""

    def __init__(self, options: Options, world: World) -> None:
        self.options, self.world = options, world
        self.truth = Truth(world)
        self.network = Network(world, options, rng_for(options.seed, "network"))
        verifier = CachingVerifier(HmacKeyring(b"simulated"))
        inventory = [_host(n, options.fault_domains) for n in range(options.hosts)]
        self.control = SimControl(CELL, inventory, world, verifier, self.truth)
        behaviours = _behaviours(options)
        self.hosts = {
            host.name: SimHost(host, world, self.network, options, verifier, behaviours, self.truth)
            for host in inventory
        }
        seeds = tuple(Member(h.name, h.name, 1, 1, h.fault_domain) for h in inventory)
        for host in self.hosts.values():
            host.peers = dict[str, SimHost](self.hosts.items())
            host.seeds = seeds
        self._rng = rng_for(options.seed, "scenario")
        self.applied: list[str] = []

    def start(self) -> None:
        """Schedule everything that the seed has in store."""
        for host in self.hosts.values():
            self.world.at(self._rng.uniform(0, 0.5), host.boot)
            self.world.at(self._rng.uniform(1.0, 2.0), partial(self._sync, host))
        self.world.at(1.0, self._tick)
        self.world.at(4.0, partial(self._apply, "1"))
        self._schedule_faults()
        self.world.at(self.options.faults_until_s, self._heal)

    # -- the control plane's rounds -----------------------------------------------------------

    def _tick(self) -> None:
        self.control.tick()
        self.world.after(TICK_S, self._tick)

    def _sync(self, host: SimHost) -> None:
        """Hosts look every second whether they are delegates; those that are, sync."""
        self.world.after(SYNC_S, partial(self._sync, host))
        if host.gossip is None:
            return
        name = host.host.name
        if name in delegates_of(CELL, host.gossip.alive_members()):
            self.network.send(name, CONTROL, partial(self._sync_now, host), reliable=True)

    def _sync_now(self, host: SimHost) -> None:
        if self.network.reaches(CONTROL, host.host.name):
            self.control.sync(host)

    # -- operators ----------------------------------------------------------------------------

    def _apply(self, version: str) -> None:
        """Open the rollout of *version* as soon as that is allowed, then plan the next."""
        limits = Limits(
            failure_fraction_max=self.options.failure_fraction_max,
            max_unavailable=self.options.max_unavailable,
            bake_s=2.0,
            settle_s=5.0,
            stop_timeout_s=2.0,
            start_timeout_s=START_TIMEOUT_S,
        )
        if not self.control.apply(SERVICE, BUILDS[version], limits):
            self.world.after(2.0, partial(self._apply, version))
            return
        self.applied.append(version)
        self.world.note(f"operator applies {version}")
        if version == "2" and self.options.operator_abort:
            self.world.after(self._rng.uniform(0.5, 60.0), self._abort)
        following = {"1": "2", "2": "3"}.get(version)
        if following is not None:
            self.world.after(self._rng.uniform(5.0, 40.0), partial(self._apply, following))

    def _abort(self) -> None:
        entry = latest(self.control.conducted, SERVICE)
        if entry is not None and entry.rollout.plan.build == BUILDS["2"]:
            self.truth.happened("an operator aborted", self.control.abort(SERVICE))

    # -- faults -------------------------------------------------------------------------------

    def _schedule_faults(self) -> None:
        options, rng = self.options, self._rng
        names = sorted(self.hosts)
        last_s = options.faults_until_s
        for _ in range(options.crashes):
            host = self.hosts[rng.choice(names)]
            self._down(host, rng.uniform(8.0, last_s), rng.uniform(1.0, 40.0), host.crash)
        for _ in range(options.reboots):
            host = self.hosts[rng.choice(names)]
            self._down(host, rng.uniform(8.0, last_s), rng.uniform(5.0, 60.0), host.reboot)
        for _ in range(options.pauses):
            host = self.hosts[rng.choice(names)]
            self.world.at(rng.uniform(8.0, last_s), partial(host.pause, rng.uniform(2.0, 40.0)))
        for _ in range(options.partitions):
            self.world.at(rng.uniform(8.0, last_s), partial(self._cut, rng.uniform(5.0, 60.0)))
        for _ in range(options.control_crashes):
            at_s = rng.uniform(8.0, last_s)
            self.world.at(at_s, self.control.crash)
            self.world.at(at_s + rng.uniform(2.0, 60.0), self.control.restart)
        for name in rng.sample(names, options.unsynchronised_hosts):
            self.hosts[name].synchronised = False
            self.hosts[name].clock_offset_s = rng.uniform(-3600, 3600)

    def _down(self, host: SimHost, at_s: float, for_s: float, how: Callable[[], None]) -> None:
        def fall() -> None:
            if host.up:
                how()
                self.world.after(for_s, rise)

        def rise() -> None:
            if not host.up:
                host.boot()

        self.world.at(at_s, fall)

    def _cut(self, for_s: float) -> None:
        """Part the cell in two, sometimes along a fault domain, sometimes one way only."""
        rng, names = self._rng, [*sorted(self.hosts), CONTROL]
        kind = rng.choice(["split", "control", "fault-domain", "one-way"])
        if kind == "control":
            side = frozenset({CONTROL})
        elif kind == "fault-domain":
            domain = rng.choice(sorted({h.host.fault_domain for h in self.hosts.values()}))
            side = frozenset(n for n, h in self.hosts.items() if h.host.fault_domain == domain)
        else:
            side = frozenset(rng.sample(names, rng.randrange(1, len(names))))
        rest = frozenset(names) - side
        cuts = [Cut(side, rest)] if kind == "one-way" else [Cut(side, rest), Cut(rest, side)]
        self.truth.happened(f"partition: {kind}")
        self.world.note(f"partition {kind}: {' '.join(sorted(side))}")
        for cut in cuts:
            self.network.cut(cut)
            self.world.after(for_s, partial(self.network.mend, cut))

    def _heal(self) -> None:
        """From here on nothing new goes wrong; what is down comes back."""
        self.world.note("healed")
        self.network.heal()
        for host in self.hosts.values():
            host.synchronised, host.clock_offset_s = True, 0.0


def _host(number: int, fault_domains: int) -> Host:
    return Host(
        name=HostName(f"h{number + 1:02d}"),
        address=f"h{number + 1:02d}",
        environment="lab",
        machine_function="web",
        cell=CELL,
        fault_domain=FaultDomain(f"fd{number % fault_domains}"),
        gossip_port=1,
        swarm_port=1,
        host_port=1,
    )


def _behaviours(options: Options) -> dict[Digest, Behaviour]:
    kinds = {"1": "good", "2": options.second_build, "3": "good"}
    return {BUILDS[v].digest: Behaviour(kind, START_TIMEOUT_S) for v, kind in kinds.items()}
