"""One simulated host: the production gossip and activation cores over a fake disk and processes.

The daemon dies and returns (``crash``, ``restart``) with what was on disk; processes live on
unless the whole host reboots.  A paused host handles nothing until it resumes, then everything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from p2pdeploy.activation import effects as act
from p2pdeploy.activation.events import (
    INTERRUPTED,
    Activated,
    ActivationFailed,
    Booted,
    Event,
    MembersChanged,
    MessageMerged,
    Now,
    Persisted,
    Progressed,
    ServiceBroke,
    ServiceRan,
    Staged,
    Woken,
)
from p2pdeploy.activation.host import HostActivation
from p2pdeploy.activation.record import HostRecord, ServiceRecord, Started
from p2pdeploy.gossip import effects as gos
from p2pdeploy.gossip import events as gev
from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.gossip.core import GossipCore
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.messages.gossip import Member, Packet
from p2pdeploy.messages.orders import Build
from p2pdeploy.topology import Host
from p2pdeploy.trust.envelope import seal
from p2psim.network import Network
from p2psim.options import Options, rng_for
from p2psim.processes import Behaviour, Outcome, ProcessTable
from p2psim.trust import CachingVerifier
from p2psim.truth import Truth
from p2psim.world import World

__all__ = ["SimHost"]

FSYNC_S = 0.003


class SimHost:
    """One host of the world.  ``peers`` finds others by address; set before ``boot``."""

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
        self.peers: dict[str, SimHost] = {}
        self.seeds: tuple[Member, ...] = ()
        self.up = False
        self.gossip: GossipCore | None = None
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
        self.records: dict[ServiceName, ServiceRecord] = {}
        self._host_record = HostRecord()
        self._disk: dict[ServiceName, frozenset[Digest]] = {}
        self._fetching: dict[ServiceName, Build] = {}
        self._life = 0  # rises with every boot; callbacks of an earlier life do nothing
        self._boot_at_s = 0.0
        self._paused_until_s = 0.0
        self._backlog: list[Callable[[], None]] = []  # what came in during a pause

    # -- life ----------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start the daemon from what is on disk."""
        self._life += 1
        self.up = True
        self._host_record = HostRecord(
            boots=self._host_record.boots + 1, time_floor=self._host_record.time_floor
        )
        name = self.host.name
        me = Member(name, name, 1, 1, self.host.fault_domain)
        rng = rng_for(self._options.seed, name, "gossip", str(self._life))
        self.gossip = GossipCore(me, self.host.cell, GossipConfig(), rng, self._verifier.open)
        self.activation = HostActivation(
            name,
            self.host.cell,
            self.host.fault_domain,
            epoch=(1 << 32) | self._host_record.boots,
            records=list(self.records.values()),
            host_record=self._host_record,
        )
        self._world.note(f"{name} boots")
        self.gossip_event(gev.Started())
        self.gossip_event(gev.SeedsLearned(self.seeds))
        self.act_event(Booted())

    def boot_if_down(self) -> None:
        if not self.up:
            self.boot()

    def crash(self) -> None:
        """Kill -9 of the daemon: memory is gone, disk and processes stay."""
        self._world.note(f"{self.host.name} daemon dies")
        self._truth.happened("daemon died while changing", self._truth.is_changing(self.host.name))
        self._life += 1
        self.up = False
        self._fetching.clear()
        self.gossip = self.activation = None
        self._backlog.clear()
        self._paused_until_s = 0.0  # the supervisor starts a new process, which runs

    def reboot(self) -> None:
        """The whole host goes down: processes are gone as well."""
        self.crash()
        self.processes.running.clear()
        self._truth.daemon_gone(self.host.name)

    def pause(self, duration_s: float) -> None:
        """SIGSTOP: nothing is handled until it ends, then everything that waited."""
        self._world.note(f"{self.host.name} pauses for {duration_s:.1f} s")
        self._paused_until_s = max(self._paused_until_s, self._world.now_s + duration_s)
        self._world.after(duration_s, self._resume_if_due)

    def _resume_if_due(self) -> None:
        if self._world.now_s >= self._paused_until_s:
            self.resume()

    def resume(self) -> None:
        """SIGCONT: what waited is handled now, in order."""
        self._paused_until_s = 0.0
        backlog, self._backlog = self._backlog, []
        for action in backlog:
            action()

    def regress(self, service: ServiceName, for_s: float) -> None:
        """A healthy service dies and crash-loops for a while."""
        build = self.processes.running.get(service)
        if not self.up or build is None or not self._is_settled_on(service, build):
            return
        self._world.note(f"{self.host.name} {service} crash-loops for {for_s:.1f} s")
        del self.processes.running[service]
        broke = ServiceBroke(service=service, code="crash-loop", reason="exited with 1")
        self._later(0.0, partial(self.act_event, broke))
        self._later(for_s, partial(self._ran, service, build))

    def _is_settled_on(self, service: ServiceName, build: Build) -> bool:
        record = self.records.get(service)
        return record is not None and record.started is None and record.running == build

    def now(self) -> Now:
        return Now(
            boot_s=self._world.now_s,
            wall_s=self._world.wall_s + self.clock_offset_s,
            synchronised=self.synchronised,
        )

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run *action* in this life of the daemon; a paused one gets it when it resumes."""
        life = self._life

        def run() -> None:
            if life != self._life or not self.up:
                return
            if self._world.now_s < self._paused_until_s:
                self._backlog.append(run)
            else:
                action()

        self._world.after(delay_s, run)

    # -- gossip --------------------------------------------------------------------------------

    def gossip_event(self, event: gev.Event) -> None:
        if self.gossip is None:
            return
        changed = False
        for effect in self.gossip.handle(event, self._world.now_s):
            match effect:
                case gos.SendDatagram():
                    self._send(effect.address, effect.packet)
                case gos.SendStream():
                    self._call(effect)
                case gos.ReplyStream():
                    raise AssertionError("streams are answered in _call")
                case gos.SetTimer():
                    fire = partial(self.gossip_event, gev.TimerFired(effect.timer))
                    self._later(effect.at - self._world.now_s, fire)
                case gos.ItemMerged():
                    self.act_event(MessageMerged(effect.message))
                case gos.MemberChanged():
                    changed = True
        if changed:
            self._tell_members()

    def _tell_members(self) -> None:
        if self.gossip is not None:
            self.act_event(MembersChanged(self.gossip.alive_members()))

    def _send(self, address: str, packet: Packet) -> None:
        peer = self.peers.get(address)
        if peer is None:
            return
        event = gev.PacketReceived(self.host.name, 1, packet)
        self._network.send(
            self.host.name, address, lambda: peer.arrive(partial(peer.gossip_event, event))
        )

    def arrive(self, action: Callable[[], None]) -> None:
        """Something came over the network."""
        if self.up:
            self._later(0.0, action)

    def _call(self, call: gos.SendStream) -> None:
        """One request and one reply; whatever goes wrong is a StreamFailed."""
        name, peer = self.host.name, self.peers.get(call.address)
        failed = gev.StreamFailed(call.address, call.port, call.request)

        def fail() -> None:
            self.gossip_event(failed)

        def answer(reply: Packet | None) -> None:
            if reply is None:
                fail()
                return
            event = gev.StreamAnswered(call.address, call.port, call.request, reply)
            self.gossip_event(event)

        def ask() -> None:
            assert peer is not None
            reply = peer.answer_stream(call.request)
            sent = self._network.send(
                call.address, name, lambda: self.arrive(partial(answer, reply)), reliable=True
            )
            if not sent:
                self._later(1.0, fail)

        sent = peer is not None and peer.up
        if sent and peer is not None:
            sent = self._network.send(name, call.address, lambda: peer.arrive(ask), reliable=True)
        if not sent:
            self._later(1.0, fail)

    def answer_stream(self, request: Packet) -> Packet | None:
        """What this host replies to a stream request."""
        if self.gossip is None:
            return None
        reply: Packet | None = None
        merged: list[gos.ItemMerged] = []
        for effect in self.gossip.handle(gev.StreamRequested(1, request), self._world.now_s):
            match effect:
                case gos.ReplyStream():
                    reply = effect.reply
                case gos.ItemMerged():
                    merged.append(effect)
                case gos.SendDatagram():
                    self._send(effect.address, effect.packet)
                case gos.SendStream():
                    self._call(effect)
                case gos.SetTimer():
                    fire = partial(self.gossip_event, gev.TimerFired(effect.timer))
                    self._later(effect.at - self._world.now_s, fire)
                case gos.MemberChanged():
                    pass
        for effect in merged:
            self.act_event(MessageMerged(effect.message))
        self._tell_members()
        return reply

    # -- activation ----------------------------------------------------------------------------

    def act_event(self, event: Event) -> None:
        if self.activation is None:
            return
        life = self._life
        for effect in self.activation.handle(event, self.now()):
            self._carry_out(effect)
            if life != self._life:
                return  # the daemon died in the middle of it

    def _carry_out(self, effect: act.Effect) -> None:
        match effect:
            case act.Persist():
                self._persist(effect)
            case act.PersistHost(record=record):
                self._host_record = record
            case act.Attest(attestation=word):
                self._world.note(
                    f"{word.host} attests {word.service} plan {word.plan_seq} {word.rank.name} "
                    f"{word.state} {word.version}"
                )
                sealed = seal(word, self._verifier.keyring.named(f"host/{word.host}"))
                self._later(0.0, partial(self.gossip_event, gev.LocalItemPublished(sealed)))
            case act.Stage(service=service, build=build):
                there = build.digest in self._on_disk(service)
                delay_s = 0.0 if there else self._rng.uniform(0.2, 4.0)
                self._fetching[service] = build
                self._later(delay_s, partial(self._staged, service, build))
            case act.Change(service=service, started=started):
                if effect.resume:
                    self._resume(service, started, effect.budget_s)
                else:
                    self._change(service, started)
            case act.Run(service=service, build=build):
                self._run(service, build, start=effect.start)
            case act.Wake(at_boot_s=at_s):
                self._later(at_s - self._world.now_s, partial(self.act_event, Woken()))
            case act.Keep(service=service, digests=digests):
                left = self._on_disk(service) & digests  # the worst case: all else goes at once
                self._truth.happened("builds were collected", left < self._on_disk(service))
                self._disk[service] = left
            case act.Forget(service=service):
                self.records.pop(service, None)
            case act.StopStaging(service=service):
                self._fetching.pop(service, None)

    def _persist(self, effect: act.Persist) -> None:
        """Write one record whole or not at all; the daemon may die on either side of it."""
        record = effect.record
        dies = not self._network.healed and self._rng.random() < self._options.write_crashes
        written = not dies or self._rng.random() < 0.5
        if written:
            self._truth.persisted(self.host.name, self.records.get(record.service), record)
            self.records[record.service] = record
        if dies:
            self._truth.happened("daemon died at a write")
            self._truth.happened("daemon died with STARTED on disk", written and effect.confirm)
            self.crash()
            self._world.after(self._rng.uniform(0.5, 20.0), self.boot_if_down)
        elif effect.confirm:
            delay_s = self._rng.uniform(FSYNC_S, self._options.fsync_max_s)
            self._later(delay_s, partial(self.act_event, Persisted(record.service)))

    def _staged(self, service: ServiceName, build: Build) -> None:
        if self._fetching.get(service) != build:
            return  # called off, or another build is wanted by now
        del self._fetching[service]
        self.put_on_disk(service, build)
        self.act_event(Staged(service=service, digest=build.digest))

    def put_on_disk(self, service: ServiceName, build: Build) -> None:
        """*build* is there from now on, until it is collected."""
        self._disk[service] = self._on_disk(service) | {build.digest}

    def _on_disk(self, service: ServiceName) -> frozenset[Digest]:
        return self._disk.get(service, frozenset())

    def _start(self, service: ServiceName, build: Build, bake_s: float) -> Outcome:
        """Start *build*, for whatever reason."""
        self._truth.started(self.host.name, service, build, self._on_disk(service))
        return self.processes.start(build, bake_s)

    def _change(self, service: ServiceName, started: Started) -> None:
        """Stop the old, start the new; every step takes time and can be cut short by a crash."""
        interrupts = service in self.processes.running
        record = self.records[service]
        self._truth.touched(self.host.name, started, record, interrupts=interrupts)
        starting = Progressed(service=service, state="starting")
        self._later(0.0, partial(self.act_event, starting))
        self._later(self.processes.stop_s(), partial(self._start_new, service, started))

    def _start_new(self, service: ServiceName, started: Started) -> None:
        self.processes.running.pop(service, None)
        if started.build is None:
            self._end(Activated(service=service, started=started))
            return
        outcome = self._start(service, started.build, started.bake_s)
        if outcome.failed_after_s is not None:
            failed = partial(self._put_back, service, started, outcome.code)
            self._later(outcome.failed_after_s, failed)
            return
        self._later(outcome.healthy_after_s, partial(self._bake, service, started))

    def _bake(self, service: ServiceName, started: Started) -> None:
        assert started.build is not None
        self.processes.running[service] = started.build
        self.act_event(Progressed(service=service, state="baking"))
        done = Activated(service=service, started=started)
        self._later(started.bake_s, partial(self._end, done))

    def _put_back(self, service: ServiceName, started: Started, code: str) -> None:
        untouched = self.processes.running.get(service) == started.previous
        if not untouched:
            self.processes.running.pop(service, None)
        going_back = Progressed(service=service, state="rolling-back")
        self._later(0.0, partial(self.act_event, going_back))
        delay_s = 0.1
        if started.previous is not None and not untouched:
            record = self.records.get(service)
            self._truth.ran(self.host.name, service, started.previous, record)
            delay_s = self._start(service, started.previous, 0.0).healthy_after_s

        def restored() -> None:
            if started.previous is not None:
                self.processes.running[service] = started.previous
            self._end(
                ActivationFailed(
                    service=service, started=started, code=code, reason=code, restored=True
                )
            )

        self._later(delay_s, restored)

    def _end(self, event: Activated | ActivationFailed) -> None:
        self._truth.ended(self.host.name, event.service)
        self.act_event(event)

    def _resume(self, service: ServiceName, started: Started, budget_s: float) -> None:
        """After a crash in the middle: finish if the new build runs, else put the old one back."""
        running = self.processes.running.get(service)
        if budget_s < started.bake_s + 0.1:
            self._put_back(service, started, INTERRUPTED)
        elif started.build is not None and running == started.build:
            self._later(0.1, partial(self._bake, service, started))
        elif started.build is None and running is None:
            self._later(0.1, partial(self._end, Activated(service=service, started=started)))
        else:
            self._put_back(service, started, INTERRUPTED)

    def _run(self, service: ServiceName, build: Build | None, *, start: bool) -> None:
        if build is None:
            self.processes.running.pop(service, None)
            return
        if self.processes.running.get(service) == build:
            self._later(0.05, partial(self.act_event, ServiceRan(service=service)))
            return
        if not start:
            gone = ServiceBroke(service=service, code="aborted", reason="aborted")
            self._later(0.05, partial(self.act_event, gone))
            return
        self._truth.ran(self.host.name, service, build, self.records.get(service))
        outcome = self._start(service, build, 0.0)
        if outcome.failed_after_s is not None:
            broke = ServiceBroke(service=service, code=outcome.code, reason=outcome.code)
            self._later(outcome.failed_after_s, partial(self.act_event, broke))
            return

        self._later(outcome.healthy_after_s, partial(self._ran, service, build))

    def _ran(self, service: ServiceName, build: Build) -> None:
        """The supervisor got it to run, unless something else is wanted by now."""
        if self._is_settled_on(service, build):
            self.processes.running[service] = build
            self.act_event(ServiceRan(service=service))
