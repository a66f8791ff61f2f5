"""One host's activation core on a bench, under a clock that we own.

bench = Bench("h3")                      # runs OLD, third fault domain of three
bench.learn(*orders_of(a_plan()))        # rollout, roster, plan, revert
bench.ready(a_plan())                    # all the rest that the gates ask for
assert bench.starting is not None        # STARTED was handed out for persisting
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pdeploy.activation.effects import Attest, Change, Effect, Persist, Run, Stage, Wake
from p2pdeploy.activation.events import (
    Activated,
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
from p2pdeploy.ids import FaultDomain, HostName, ServiceName
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Build, Order
from p2pdeploy.planning.planner import CellPlan
from p2pdeploy.testing.orders import (
    CELL,
    EPOCH_S,
    NEW,
    OLD,
    WEB,
    a_go,
    a_word,
    activate,
    orders_of,
)
from p2pdeploy.trust.envelope import Sealed

__all__ = ["Bench", "on_new"]

BOOT_S = 1_000.0  # CLOCK_BOOTTIME when a bench is made; it is EPOCH_S then


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
            records = [
                ServiceRecord(
                    service=WEB,
                    accepted_seq=2,
                    running=running,
                    running_seq=2,
                    running_settled=True,
                )
            ]
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


def on_new(cell_plan: CellPlan) -> Bench:
    """The host h3, which took the new build of *cell_plan*, and ended well."""
    bench = Bench("h3")
    bench.send(Activated(service=WEB, started=bench.begin(cell_plan)))
    return bench
