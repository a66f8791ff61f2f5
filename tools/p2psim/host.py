"""One simulated host: the production gossip and activation cores over a fake disk and processes.

The daemon dies and returns (``crash``, ``boot``) with what was on disk; processes live on
unless the whole host reboots.  A paused host handles nothing until it resumes, then everything.
"""

from __future__ import annotations

from functools import partial

import msgspec

from p2pdeploy.activation import effects as act
from p2pdeploy.activation.events import Booted, Event, Now, Persisted, Staged, Woken
from p2pdeploy.activation.host import HostActivation
from p2pdeploy.gossip import events as gev
from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.gossip.core import GossipCore
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.gossip import Member
from p2pdeploy.messages.orders import Build
from p2pdeploy.topology import Host
from p2pdeploy.trust.envelope import seal
from p2psim.disk import Disk
from p2psim.host_gossip import HostGossip
from p2psim.host_services import HostServices
from p2psim.life import Life
from p2psim.network import Network
from p2psim.options import Options, rng_for
from p2psim.processes import Behaviour, ProcessTable
from p2psim.trust import CachingVerifier
from p2psim.truth import Truth
from p2psim.world import World

__all__ = ["SimHost"]

FSYNC_S = 0.003


class SimHost:
    """One host of the world.  Its ``gossip.peers`` and ``seeds`` are set before ``boot``."""

    def __init__(
        self,
        host: Host,
        world: World,
        network: Network,
        options: Options,
        verifier: CachingVerifier,
        behaviours: dict[Digest, Behaviour],
        truth: Truth,
    ) -> None:
        self.host = host
        self.seeds: tuple[Member, ...] = ()
        self.activation: HostActivation | None = None
        self._world, self._network, self._options = world, network, options
        self._verifier, self._truth = verifier, truth
        self._rng = rng_for(options.seed, host.name, "host")
        self.clock_offset_s = self._rng.uniform(-1, 1) * options.clock_offset_max_s
        self.synchronised = True
        self.processes = ProcessTable(
            behaviours,
            rng_for(options.seed, host.name, "process"),
            failures=options.activation_failures,
            slow=options.slow_start,
        )
        self.disk = Disk()
        self._fetching: dict[ServiceName, Build] = {}
        self._life = Life(world)
        self.gossip = HostGossip(host.name, self._life, world, network, self.act_event)
        self._services = HostServices(
            host.name, self._life, self.disk, self.processes, truth, self.act_event
        )

    @property
    def up(self) -> bool:
        return self._life.up

    # -- life ----------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start the daemon from what is on disk."""
        self._life.begin()
        before = self.disk.host_record
        record = self.disk.host_record = msgspec.structs.replace(before, boots=before.boots + 1)
        name = self.host.name
        me = Member(name, name, 1, 1, self.host.fault_domain)
        rng = rng_for(self._options.seed, name, "gossip", str(self._life.number))
        self.gossip.core = GossipCore(me, self.host.cell, GossipConfig(), rng, self._verifier.open)
        self.activation = HostActivation(
            name,
            self.host.cell,
            self.host.fault_domain,
            epoch=(1 << 32) | record.boots,
            records=list(self.disk.records.values()),
            host_record=record,
        )
        self._world.note(f"{name} boots")
        self.gossip.handle(gev.Started())
        self.gossip.handle(gev.SeedsLearned(self.seeds))
        self.act_event(Booted())

    def boot_if_down(self) -> None:
        if not self.up:
            self.boot()

    def crash(self) -> None:
        """Kill -9 of the daemon: memory is gone, disk and processes stay."""
        self._world.note(f"{self.host.name} daemon dies")
        self._truth.happened("daemon died while changing", self._truth.is_changing(self.host.name))
        self._life.end()
        self._fetching.clear()
        self.gossip.core = self.activation = None

    def reboot(self) -> None:
        """The whole host goes down: processes are gone as well."""
        self.crash()
        self.processes.running.clear()
        self._truth.daemon_gone(self.host.name)

    def pause(self, duration_s: float) -> None:
        """SIGSTOP: nothing is handled until it ends, then everything that waited."""
        self._world.note(f"{self.host.name} pauses for {duration_s:.1f} s")
        self._life.pause(duration_s)

    def resume(self) -> None:
        """SIGCONT: what waited is handled now, in order."""
        self._life.resume()

    def regress(self, service: ServiceName, for_s: float) -> None:
        """A healthy service dies and crash-loops for a while."""
        if self.up and self._services.regress(service, for_s):
            self._world.note(f"{self.host.name} {service} crash-loops for {for_s:.1f} s")

    def now(self) -> Now:
        return Now(
            boot_s=self._world.now_s,
            wall_s=self._world.wall_s + self.clock_offset_s,
            synchronised=self.synchronised,
        )

    # -- activation ----------------------------------------------------------------------------

    def act_event(self, event: Event) -> None:
        if self.activation is None:
            return
        life = self._life.number
        for effect in self.activation.handle(event, self.now()):
            self._carry_out(effect)
            if life != self._life.number:
                return  # the daemon died in the middle of it

    def _carry_out(self, effect: act.Effect) -> None:
        match effect:
            case act.Persist():
                self._persist(effect)
            case act.PersistHost(record=record):
                self.disk.host_record = record
            case act.Attest(attestation=attestation):
                self._attest(attestation)
            case act.Stage(service=service, build=build):
                self._fetch(service, build)
            case act.Change():
                self._services.change(effect)
            case act.Run():
                self._services.run(effect)
            case act.Wake(at_boot_s=at_s):
                self._life.later(at_s - self._world.now_s, partial(self.act_event, Woken()))
            case act.Keep(service=service, digests=digests):
                collected = self.disk.keep(service, digests)
                self._truth.happened("builds were collected", collected)
            case act.StopStaging(service=service):
                self._fetching.pop(service, None)

    def _attest(self, word: Attestation) -> None:
        self._world.note(
            f"{word.host} attests {word.service} plan {word.plan_seq} {word.rank.name} "
            f"{word.state} {word.version}"
        )
        sealed = seal(word, self._verifier.keyring.named(f"host/{word.host}"))
        self._life.later(0.0, partial(self.gossip.handle, gev.LocalItemPublished(sealed)))

    def _persist(self, effect: act.Persist) -> None:
        """Write one record whole or not at all; the daemon may die on either side of it."""
        record = effect.record
        dies = not self._network.healed and self._rng.random() < self._options.write_crashes
        written = not dies or self._rng.random() < 0.5
        if written:
            self._truth.persisted(self.host.name, self.disk.records.get(record.service), record)
            self.disk.records[record.service] = record
        if dies:
            self._truth.happened("daemon died at a write")
            self._truth.happened("daemon died with STARTED on disk", written and effect.confirm)
            self.crash()
            self._world.after(self._rng.uniform(0.5, 20.0), self.boot_if_down)
        elif effect.confirm:
            delay_s = self._rng.uniform(FSYNC_S, self._options.fsync_max_s)
            self._life.later(delay_s, partial(self.act_event, Persisted(record.service)))

    def _fetch(self, service: ServiceName, build: Build) -> None:
        there = build.digest in self.disk.builds(service)
        delay_s = 0.0 if there else self._rng.uniform(0.2, 4.0)
        self._fetching[service] = build
        self._life.later(delay_s, partial(self._staged, service, build))

    def _staged(self, service: ServiceName, build: Build) -> None:
        if self._fetching.get(service) != build:
            return  # called off, or another build is wanted by now
        del self._fetching[service]
        self.disk.put(service, build)
        self.act_event(Staged(service=service, digest=build.digest))
