"""One host's activation core on a bench: orders by the real planner, a clock that we own.

bench = Bench("h3")                      # runs OLD, third fault domain of three
bench.learn(*orders_of(a_plan()))        # rollout, roster, plan, revert
bench.ready(a_plan())                    # all the rest that the gates ask for
assert bench.starting is not None        # STARTED was handed out for persisting
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from p2pdeploy.activation.effects import Attest, Change, Effect, Persist, Run, Stage, Wake
from p2pdeploy.activation.events import (
    Booted,
    Event,
    MembersChanged,
    MessageMerged,
    Now,
    Persisted,
    ServiceRan,
    Staged,
    Woken,
)
from p2pdeploy.activation.host import HostActivation
from p2pdeploy.activation.record import HostRecord, ServiceRecord, Started
from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName, RolloutId, ServiceName, Version
from p2pdeploy.limits import LEASE_S
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Abort, Build, Go, Grant, Order, Rollout, Settled, Target
from p2pdeploy.planning.planner import CellFacts, CellPlan, Limits, plan_cell
from p2pdeploy.topology import Host
from p2pdeploy.trust.envelope import Sealed

__all__ = [
    "CELL",
    "EPOCH_S",
    "NEW",
    "OLD",
    "WEB",
    "Bench",
    "a_build",
    "a_go",
    "a_plan",
    "a_settled",
    "a_word",
    "abort_of",
    "activate",
    "hosts_of",
    "name_to_go_back",
    "orders_of",
    "rollout_of",
]

CELL = CellId("lab.web.c0")
WEB = ServiceName("web")
EPOCH_S = 1_800_000_000.0  # UTC when a bench is made; its CLOCK_BOOTTIME is then BOOT_S
BOOT_S = 1_000.0


def a_build(version: str) -> Build:
    """The build that stands for *version*."""
    return Build(version=Version(version), digest=digest_of(version.encode()))


OLD, NEW = a_build("1"), a_build("2")


def hosts_of(count: int, fault_domains: int) -> tuple[Host, ...]:
    """``h1`` stands in ``fd0``, ``h2`` in ``fd1`` and so on, round and round."""
    return tuple(
        Host(
            name=HostName(f"h{number + 1}"),
            address="127.0.0.1",
            environment="lab",
            machine_function="web",
            cell=CELL,
            fault_domain=FaultDomain(f"fd{number % fault_domains}"),
            gossip_port=1,
            swarm_port=1,
            host_port=1,
        )
        for number in range(count)
    )


def a_plan(
    *,
    build: Build = NEW,
    baseline: Build | None = OLD,
    hosts: int = 6,
    fault_domains: int = 3,
    after: int = 2,
    limits: Limits | None = None,
    service: ServiceName = WEB,
    absent: Iterable[str] = (),
    now: float = EPOCH_S,
) -> CellPlan:
    """What the planner makes of a cell that runs *baseline*; *after* is the last plan_seq."""
    inventory = hosts_of(hosts, fault_domains)
    facts = CellFacts(
        cell=CELL,
        hosts=inventory,
        alive=frozenset(host.name for host in inventory) - {HostName(name) for name in absent},
        evidence={},
        baseline=baseline,
        plan_seq_max=after,
    )
    cell_plan = plan_cell(
        facts,
        service=service,
        build=build,
        rollout_id=RolloutId(f"r{after + 2}"),
        limits=limits or Limits(),
        now=now,
    )
    assert cell_plan is not None, "somebody is alive"
    return cell_plan


def rollout_of(cell_plan: CellPlan, *, failure_fraction_max: float = 0.99) -> Rollout:
    """The approval that *cell_plan* needs."""
    plan = cell_plan.plan
    return Rollout(
        rollout_id=plan.rollout_id,
        service=plan.service,
        build=plan.build,
        target=Target(environment="lab", machine_function="web"),
        failure_fraction_max=failure_fraction_max,
        max_unavailable=plan.max_unavailable,
        issued_at=plan.issued_at,
        expires_at=plan.expires_at,
    )


def orders_of(cell_plan: CellPlan) -> tuple[Sealed, ...]:
    """Everything that tells a host about the plan, but for the GO."""
    return (rollout_of(cell_plan), cell_plan.roster, cell_plan.plan, cell_plan.revert)


def activate(cell_plan: CellPlan, *, up_to: int = 99, quiet_at: float = 0.0) -> Grant:
    """The grant that lets *cell_plan* start."""
    plan = cell_plan.plan
    return Grant(
        service=plan.service,
        plan_seq=plan.plan_seq,
        phase="activate",
        up_to=up_to,
        predecessor_quiet_at=quiet_at,
    )


def name_to_go_back(cell_plan: CellPlan, *hosts: str) -> Grant:
    """The grant that lets *hosts* go back."""
    plan = cell_plan.plan
    names = tuple(HostName(host) for host in hosts)
    return Grant(service=plan.service, plan_seq=plan.plan_seq + 1, phase="revert", hosts=names)


def a_go(*grants: Grant, lease_seq: int = 1, issued_at: float = EPOCH_S) -> Go:
    """A GO of the usual length."""
    return Go(
        cell=CELL,
        lease_seq=lease_seq,
        issued_at=issued_at,
        not_after=issued_at + LEASE_S,
        grants=grants,
    )


def abort_of(cell_plan: CellPlan) -> Abort:
    """The ABORT of *cell_plan*."""
    plan = cell_plan.plan
    return Abort(
        cell=CELL, service=plan.service, watermark=plan.plan_seq, code="operator", reason="asked"
    )


def a_settled(
    build: Build | None, plan_seq: int, *, issued_at: float = EPOCH_S, hosts: tuple[str, ...] = ()
) -> Settled:
    """What the cell runs since *plan_seq*."""
    return Settled(
        cell=CELL,
        service=WEB,
        plan_seq=plan_seq,
        build=build,
        max_unavailable=2,
        activation_max_s=60.0,
        clock_error_s=1.0,
        issued_at=issued_at,
        not_after=issued_at + 24 * 3600,
        hosts=tuple(HostName(host) for host in hosts),
    )


def a_word(host: str, plan_seq: int, rank: Rank, *, runs: Build | None = OLD) -> Attestation:
    """What *host* says of itself; a later plan or rank is a newer word."""
    return Attestation(
        cell=CELL,
        host=HostName(host),
        service=WEB,
        fault_domain=FaultDomain("fd0"),
        epoch=1,
        seq=plan_seq * 1_000 + rank,
        plan_seq=plan_seq,
        rank=rank,
        version=runs.version if runs else Version(""),
        digest=runs.digest if runs else Digest(""),
    )


class Bench:
    """One host; keeps every effect, answers nothing by itself."""

    def __init__(
        self,
        me: str = "h3",
        *,
        running: Build | None = OLD,
        records: Sequence[ServiceRecord] | None = None,
        time_floor: float = 0.0,
    ) -> None:
        self.me = HostName(me)
        if records is None:
            records = [ServiceRecord(service=WEB, accepted_seq=2, running=running)]
        self.core = HostActivation(
            self.me,
            CELL,
            FaultDomain("fd"),
            epoch=1 << 32,
            records=records,
            host_record=HostRecord(boots=1, time_floor=time_floor),
        )
        self.boot_s = BOOT_S
        self.wall_s = EPOCH_S
        self.synchronised = True
        self.log: list[Effect] = []
        self.send(Booted())
        if running is not None and any(record.started is None for record in records):
            self.send(ServiceRan(service=WEB, port=80))

    # -- what happens to it --------------------------------------------------------------------

    def send(self, event: Event) -> list[Effect]:
        """Hand in one event now; returns the effects."""
        now = Now(boot_s=self.boot_s, wall_s=self.wall_s, synchronised=self.synchronised)
        effects = self.core.handle(event, now)
        self.log += effects
        return effects

    def learn(self, *messages: Sealed | Order) -> list[Effect]:
        """Orders and attestations arrive, one after the other."""
        return [
            effect
            for message in messages
            for effect in self.send(MessageMerged(message))  # pyright: ignore[reportArgumentType] every order given here is Sealed
        ]

    def wait(self, seconds: float) -> list[Effect]:
        """Time passes, and the core looks again."""
        self.boot_s += seconds
        self.wall_s += seconds
        return self.send(Woken())

    def stage(self, build: Build = NEW, *, service: ServiceName = WEB) -> list[Effect]:
        """*build* has come onto this disk."""
        return self.send(Staged(service=service, digest=build.digest))

    def see(self, *hosts: str) -> list[Effect]:
        """Membership sees exactly these alive."""
        return self.send(MembersChanged(frozenset(HostName(host) for host in hosts)))

    def ready(self, cell_plan: CellPlan, *, but: str = "", quiet_in_s: float | None = None) -> None:
        """Bring about everything that a start of *cell_plan* asks for, except *but*.

        *but* is one of ``orders``, ``stage``, ``alive``, ``accepted``, ``evidence``, ``settle``
        and ``go``; without it the host has begun afterwards.  *quiet_in_s*: from now until the
        predecessor is known to be quiet; None if there was none.
        """
        members = [member.host for member in cell_plan.roster.members]
        plan_seq = cell_plan.plan.plan_seq
        place = next((m for m in cell_plan.roster.members if m.host == self.me), None)
        if but != "orders":
            self.learn(*orders_of(cell_plan))
        if but != "stage":
            self.stage(cell_plan.plan.build, service=cell_plan.plan.service)
        if but != "alive":
            self.see(*members)
        if but != "accepted":
            self.learn(*(a_word(host, plan_seq, Rank.ACCEPTED) for host in members))
        if but != "evidence" and place is not None:
            before = [
                m.host
                for m in cell_plan.roster.members
                if (m.fault_domain, m.batch) < (place.fault_domain, place.batch)
            ]
            self.learn(*(a_word(host, plan_seq, Rank.HEALTHY) for host in before))
        if but != "go":
            quiet_at = 0.0 if quiet_in_s is None else self.wall_s + quiet_in_s
            self.learn(a_go(activate(cell_plan, quiet_at=quiet_at), issued_at=self.wall_s))
        if but != "settle":
            self.wait(cell_plan.plan.settle_s)

    def persisted(self, service: ServiceName = WEB) -> list[Effect]:
        """The record of STARTED is on disk."""
        return self.send(Persisted(service))

    def begin(self, cell_plan: CellPlan) -> Started:
        """Come all the way to the change of *cell_plan*, and return it."""
        self.ready(cell_plan)
        change = next(e for e in self.persisted() if isinstance(e, Change))
        return change.started

    # -- what came of it -----------------------------------------------------------------------

    @property
    def why(self) -> str:
        """The code of what holds the service; empty when nothing does."""
        hold = self.core.why(WEB)
        return hold.code if hold else ""

    @property
    def record(self) -> ServiceRecord:
        """The record of the service as last handed out."""
        return next(record for record in self.core.records() if record.service == WEB)

    @property
    def starting(self) -> Started | None:
        """What was journaled and waits for the last look, or is being carried out."""
        return self.record.started

    @property
    def said(self) -> Attestation:
        """The newest attestation."""
        return [e.attestation for e in self.log if isinstance(e, Attest)][-1]

    @property
    def stages(self) -> list[Stage]:
        return [effect for effect in self.log if isinstance(effect, Stage)]

    @property
    def changes(self) -> list[Change]:
        return [effect for effect in self.log if isinstance(effect, Change)]

    @property
    def runs(self) -> list[Run]:
        return [effect for effect in self.log if isinstance(effect, Run)]

    @property
    def wakes(self) -> list[Wake]:
        return [effect for effect in self.log if isinstance(effect, Wake)]

    @property
    def persists(self) -> list[Persist]:
        return [effect for effect in self.log if isinstance(effect, Persist)]
