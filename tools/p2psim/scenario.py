"""What happens to a world over time: rollouts, an operator, faults, and then peace."""

from __future__ import annotations

from functools import lru_cache, partial
from random import Random

from p2pdeploy.gossip.anti_entropy import delegates_of
from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName, ServiceName, Version
from p2pdeploy.limits import PREFETCHES_MAX
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.gossip import Member
from p2pdeploy.messages.orders import Build
from p2pdeploy.planning.conducted import latest
from p2pdeploy.planning.planner import Limits
from p2pdeploy.testing.keyring import HmacKeyring
from p2pdeploy.topology import Host
from p2psim.control import NAME as CONTROL
from p2psim.control import SimControl
from p2psim.faults import Faults
from p2psim.host import SimHost
from p2psim.host_gossip import HostGossip
from p2psim.late_host import LateHost
from p2psim.network import Network
from p2psim.options import Options, rng_for
from p2psim.processes import Behaviour
from p2psim.trust import CachingVerifier
from p2psim.truth import Truth
from p2psim.world import World

__all__ = ["CELL", "Scenario", "build_of"]

# What is rolled out, in this order; the second service stands on the same hosts.
VERSIONS = {ServiceName("web"): ("1", "2", "3"), ServiceName("api"): ("1", "2")}
NEVER = "never"  # a build that is prefetched, and that nobody ever rolls out
CELL = CellId("lab.web.c0")
TICK_S = 0.5
SYNC_S = 1.0
START_TIMEOUT_S = 8.0
RETRYING_WORLDS = 0.5  # the share of worlds with an operator who does not accept failures
RETRY_EVERY_S = 2.0


def build_of(service: ServiceName, version: str) -> Build:
    """The build that stands for *version* of *service*."""
    return Build(version=Version(version), digest=digest_of(f"{service} {version}".encode()))


@lru_cache(maxsize=256)
def _delegates(alive: frozenset[HostName]) -> tuple[HostName, ...]:
    return delegates_of(CELL, alive)


class Scenario:
    """One world, wired up and ready to run."""

    def __init__(self, options: Options, world: World) -> None:
        self.options, self.world = options, world
        self.truth = Truth(world=world)
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
        peers: dict[str, HostGossip] = {name: host.gossip for name, host in self.hosts.items()}
        for host in self.hosts.values():
            host.gossip.peers = peers
            host.seeds = seeds
        self._rng = rng_for(options.seed, "scenario")
        self._faults = Faults(options, world, self.network, self.hosts, self.control, self.truth)
        self._late_host = LateHost(
            options, world, self.network, self.hosts, self.control, self.truth
        )
        self.services = list(VERSIONS)[: options.services]
        self.applied: dict[ServiceName, list[str]] = {service: [] for service in self.services}

    def start(self) -> None:
        """Schedule everything that the seed has in store."""
        for host in self.hosts.values():
            self.world.at(self._rng.uniform(0, 0.5), host.boot)
            self.world.at(self._rng.uniform(1.0, 2.0), partial(self._sync, host))
        self.world.at(1.0, self._tick)
        self.world.at(4.0, partial(self._apply, self.services[0], "1"))
        for service in self.services[1:]:
            self.world.at(self._rng.uniform(4.0, 60.0), partial(self._apply, service, "1"))
        if self.options.operator_pause:
            self.world.at(self._rng.uniform(10.0, 100.0), self._pause)
        if rng_for(self.options.seed, "retry").random() < RETRYING_WORLDS:
            self.world.at(RETRY_EVERY_S, self._retry)
        prefetching = rng_for(self.options.seed, "prefetch")
        for service in self.services:
            self.world.at(
                prefetching.uniform(2.0, 20.0), partial(self._prefetch, service, prefetching)
            )
        self._faults.schedule()

    def wanted(self, service: ServiceName) -> bool:
        """Whether every version of *service* has been applied."""
        return tuple(self.applied[service]) == VERSIONS[service]

    # -- the control plane's rounds -----------------------------------------------------------

    def _tick(self) -> None:
        self.control.tick()
        self.world.after(TICK_S, self._tick)

    def _sync(self, host: SimHost) -> None:
        """Hosts look every second whether they are delegates; those that are, sync."""
        self.world.after(SYNC_S, partial(self._sync, host))
        gossip = host.gossip.core
        if gossip is None:
            return
        name = host.host.name
        if name in _delegates(gossip.alive_members()):
            self.network.send(name, CONTROL, partial(self._sync_now, host), reliable=True)

    def _sync_now(self, host: SimHost) -> None:
        if self.network.reaches(CONTROL, host.host.name):
            self.control.sync(host)

    # -- operators ----------------------------------------------------------------------------

    def _apply(self, service: ServiceName, version: str) -> None:
        """Open the rollout of *version* as soon as that is allowed, then plan the next."""
        limits = Limits(
            failure_fraction_max=self.options.failure_fraction_max,
            max_unavailable=self.options.max_unavailable,
            bake_s=2.0,
            settle_s=self.options.settle_s,
            stop_timeout_s=2.0,
            start_timeout_s=START_TIMEOUT_S,
        )
        if not self._is_free(service) or not self._late_host_allows(service, version):
            self.world.after(0.25, partial(self._apply, service, version))
            return
        if not self.control.apply(service, build_of(service, version), limits):
            self.world.after(2.0, partial(self._apply, service, version))
            return
        self.applied[service].append(version)
        self.world.note(f"operator applies {service} {version}")
        open_now = [e for e in self.control.conducted.entries if e.rollout.phase != "done"]
        self.truth.happened("two services were rolled out side by side", len(open_now) > 1)
        if version == "2" and self.options.operator_abort:
            self.world.after(self._rng.uniform(0.5, 60.0), partial(self._abort, service))
        following = VERSIONS[service][len(self.applied[service]) :]
        if following:
            delay_s = self._rng.uniform(0.5, 40.0)
            self.world.after(delay_s, partial(self._apply, service, following[0]))

    def _prefetch(self, service: ServiceName, rng: Random) -> None:
        """Bring what comes to hosts ahead of it, and what never comes; change one's mind often."""
        builds = [build_of(service, version) for version in (*VERSIONS[service], NEVER)]
        chosen = tuple(rng.sample(builds, rng.randint(0, min(PREFETCHES_MAX, len(builds)))))
        prefetched = self.control.prefetch(service, chosen, rng.uniform(5.0, 200.0))
        self.truth.happened("builds were prefetched", prefetched and bool(chosen))
        if not self.network.healed:
            self.world.after(rng.uniform(1.0, 40.0), partial(self._prefetch, service, rng))

    def _is_free(self, service: ServiceName) -> bool:
        """Whether the rollout before has ended."""
        entry = latest(self.control.conducted, service)
        return entry is None or entry.rollout.phase == "done"

    def _late_host_allows(self, service: ServiceName, version: str) -> bool:
        return service != self.services[0] or self._late_host.lets_apply(service, version)

    def _abort(self, service: ServiceName) -> None:
        """Abort version 2, sometimes in the very moment in which a part is cut off."""
        entry = latest(self.control.conducted, service)
        if entry is None or entry.rollout.plan.build != build_of(service, "2"):
            return
        if self.options.abort_under_partition and not self.network.healed:
            self._faults.cut(self._rng.uniform(35.0, 60.0))
        aborted = self.control.abort(service)
        self.truth.happened("an operator aborted", aborted)
        self.truth.happened("a partition spanned an abort", aborted and self.network.is_cut)

    def _pause(self) -> None:
        """Pause what is activating for a while, whichever it is."""
        for service in self.services:
            if self.control.pause(service, paused=True):
                self.truth.happened("a rollout was paused")
                self.world.note(f"operator pauses {service}")
                self.world.after(self._rng.uniform(5.0, 90.0), partial(self._resume, service))

    def _retry(self) -> None:
        """Let every host that failed a plan under way try again, as often as that is allowed."""
        for service in self.services:
            if self.control.retry(service):
                self.truth.happened("a plan was tried again")
                self.world.note(f"operator retries {service}")
        if not self.network.healed:
            self.world.after(RETRY_EVERY_S, self._retry)

    def _resume(self, service: ServiceName) -> None:
        if not self.control.up:
            self.world.after(5.0, partial(self._resume, service))
        elif self.control.pause(service, paused=False):
            self.world.note(f"operator resumes {service}")


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
    return {
        build_of(service, version).digest: Behaviour(
            options.second_build if version == "2" else "good", START_TIMEOUT_S
        )
        for service, versions in VERSIONS.items()
        for version in versions
    }
