"""The activation core of one host: events in, effects out; no clock, disk or network of its own.

After every event each service is looked at afresh (level-triggered): its governing order, what
it has achieved, and the one thing that holds it.  The protocol is ``docs/protocol/activation.md``.

Rules that live here:

* one change at a time on this host, and none unless its order, its gate and its lease say so;
* STARTED is on disk before anything is touched, and GO and ABORT are looked at once more after;
* whatever is unknown, expired or unsynchronised holds; a running service is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from p2pdeploy.activation.effects import (
    Attest,
    Change,
    Effect,
    Keep,
    Persist,
    PersistHost,
    Run,
    Stage,
    Wake,
)
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
    StagingFailed,
    Woken,
)
from p2pdeploy.activation.lease import Hold, ReceivedGo
from p2pdeploy.activation.record import HostRecord, ServiceRecord
from p2pdeploy.activation.rules import Context, Decision, decide, last_look
from p2pdeploy.activation.service import Slot
from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName, ServiceName, Version
from p2pdeploy.limits import SERVICES_PER_HOST_MAX
from p2pdeploy.messages.attestation import REASON_CHARS_MAX, Attestation, Rank
from p2pdeploy.messages.orders import Go
from p2pdeploy.trust.envelope import Sealed

__all__ = ["HostActivation"]

# The floor only has to be near the truth; writing it more often than this wears the disk for
# nothing (a GO is renewed every 10 s).
_FLOOR_STEP_S = 60.0


class HostActivation:
    """What one host does about every service of its cell.

    Args:
        me: This host's name, as rosters spell it.
        cell: Orders and attestations of other cells are ignored.
        fault_domain: Stands in this host's attestations.
        epoch: Rises with every boot; see ``docs/adr/0003``.
        records: The durable records, one per service.
        host_record: The durable time floor.
    """

    def __init__(
        self,
        me: HostName,
        cell: CellId,
        fault_domain: FaultDomain,
        *,
        epoch: int,
        records: Iterable[ServiceRecord] = (),
        host_record: HostRecord | None = None,
    ) -> None:
        self._me = me
        self._cell = cell
        self._fault_domain = fault_domain
        self._epoch = epoch
        self._slots = {record.service: Slot(record) for record in records}
        self._host_record = host_record or HostRecord()
        self._go: ReceivedGo | None = None
        self._alive: frozenset[HostName] = frozenset({me})
        self._wake_at: float | None = None

    def __repr__(self) -> str:
        services = ", ".join(f"{name}: {slot.state}" for name, slot in sorted(self._slots.items()))
        return f"<HostActivation {self._me} [{services}]>"

    def why(self, service: ServiceName) -> Hold | None:
        """What holds *service* right now; None when nothing does or it is unknown."""
        slot = self._slots.get(service)
        return slot.hold if slot else None

    def records(self) -> list[ServiceRecord]:
        """The records as last handed out for persisting."""
        return [slot.record for _, slot in sorted(self._slots.items())]

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """Take one event; return what to do, in order.

        The caller carries the effects out one after the other before it hands in the next event.
        """
        effects = self._apply(event, now)
        wakes: list[float] = []
        for _, slot in sorted(self._slots.items()):
            effects += self._advance(slot, now)
            if slot.hold is not None and slot.hold.until_boot_s is not None:
                wakes.append(slot.hold.until_boot_s)
        for _, slot in sorted(self._slots.items()):
            effects += self._attest(slot, now)
        return effects + self._wake(min(wakes, default=None), now)

    # -- what an event changes ---------------------------------------------------------------

    def _apply(self, event: Event, now: Now) -> list[Effect]:
        match event:
            case Booted():
                return [effect for slot in self._slots.values() for effect in _boot(slot)]
            case MessageMerged():
                return self._learn(event.message, now)
            case MembersChanged():
                self._alive = event.alive | {self._me}
                return []
            case Woken():
                self._wake_at = None
                return []
            case Persisted():
                return self._confirm(self._slots[event.service], now)
            case _:
                slot = self._slots.get(event.service)
                return self._apply_to(slot, event, now) if slot else []

    def _apply_to(
        self,
        slot: Slot,
        event: Staged
        | StagingFailed
        | Progressed
        | Activated
        | ActivationFailed
        | ServiceRan
        | ServiceBroke,
        now: Now,
    ) -> list[Effect]:
        match event:
            case Staged():
                slot.staged.add(event.digest)
                if slot.staging == event.digest:
                    slot.staging, slot.staging_problem = None, None
                    if slot.state == "fetching":
                        slot.state, slot.since = "staged", now.wall_s
                slot.fetched_bytes, slot.reused_bytes = event.fetched_bytes, event.reused_bytes
                return []
            case StagingFailed():
                if slot.staging == event.digest:
                    slot.staging_problem = Hold(event.code, event.reason)
                return []
            case Progressed():
                slot.state, slot.since = event.state, now.wall_s
                slot.port = event.port or slot.port
                return []
            case Activated():
                return _finish(slot, event, now)
            case ActivationFailed():
                return _fail(slot, event, now)
            case ServiceRan():
                return _ran(slot, event, now)
            case ServiceBroke():
                return _broke(slot, event, now)

    def _learn(self, message: Sealed, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        if getattr(message, "cell", self._cell) != self._cell:
            return effects
        issued_at = getattr(message, "issued_at", 0.0)
        if issued_at > self._host_record.time_floor + _FLOOR_STEP_S:
            self._host_record = msgspec.structs.replace(self._host_record, time_floor=issued_at)
            effects.append(PersistHost(self._host_record))
        if isinstance(message, Go):
            if self._go is None or message.lease_seq > self._go.go.lease_seq:
                self._go = ReceivedGo(message, now.boot_s)
            return effects
        slot = self._slot(message.service)
        if slot is None:
            return effects
        before = slot.record
        slot.learn(message)
        return [*effects, Persist(slot.record)] if slot.record != before else effects

    def _slot(self, service: ServiceName) -> Slot | None:
        slot = self._slots.get(service)
        if slot is None and len(self._slots) < SERVICES_PER_HOST_MAX:
            slot = self._slots[service] = Slot(ServiceRecord(service=service), known=True)
        return slot

    # -- what a service does next ------------------------------------------------------------

    def _advance(self, slot: Slot, now: Now) -> list[Effect]:
        if slot.confirming is not None or slot.changing is not None:
            slot.hold = None
            return []
        context = Context(self._me, self._go, self._alive, self._host_record.time_floor, now)
        effects: list[Effect] = []
        for _ in range(4):  # accept, record an outcome, stage, start: each at most once a look
            decision = decide(slot, context, busy_with=self._busy_with(slot))
            slot.hold = decision.hold
            more = _carry_out(slot, decision, now)
            effects += more
            if not more or decision.start is not None:
                break
        return effects

    def _busy_with(self, slot: Slot) -> ServiceName | None:
        for name, other in sorted(self._slots.items()):
            if other is not slot and (other.changing or other.confirming):
                return name
        return None

    def _confirm(self, slot: Slot, now: Now) -> list[Effect]:
        """STARTED is on disk: look at GO and ABORT once more, then act or take it back."""
        started = slot.confirming
        if started is None:
            return []
        slot.confirming = None
        context = Context(self._me, self._go, self._alive, self._host_record.time_floor, now)
        slot.hold = last_look(slot, started, context)
        if slot.hold is not None:
            slot.record = msgspec.structs.replace(slot.record, started=None)
            return [Persist(slot.record)]
        slot.changing = started
        # The word names the new build from here on, which nobody may take for healthy.
        slot.state, slot.since = "starting", now.wall_s
        return [Change(slot.record.service, started)]

    # -- what the cell is told ---------------------------------------------------------------

    def _attest(self, slot: Slot, now: Now) -> list[Effect]:
        """Attest whenever the truth differs from what was last said."""
        if not slot.known:
            return []
        plan_seq, attempt, rank = slot.rank(slot.duty())
        shown = slot.record.running
        if slot.changing is not None and slot.state != "rolling-back":
            shown = slot.changing.build or shown
        last, trouble = slot.mine, slot.trouble()
        word = Attestation(
            cell=self._cell,
            host=self._me,
            service=slot.record.service,
            fault_domain=self._fault_domain,
            epoch=self._epoch,
            seq=last.seq if last else 0,
            plan_seq=plan_seq,
            attempt=attempt,
            rank=rank,
            state=slot.state,
            version=shown.version if shown else Version(""),
            digest=shown.digest if shown else Digest(""),
            port=slot.port if shown else 0,
            since=slot.since,
            reason_code=trouble.code if trouble else slot.record.reason_code,
            reason=trouble.message[:REASON_CHARS_MAX] if trouble else slot.record.reason,
            fetched_bytes=slot.fetched_bytes,
            reused_bytes=slot.reused_bytes,
        )
        if word == last:
            return []
        slot.mine = msgspec.structs.replace(word, seq=word.seq + 1)
        return [Attest(slot.mine)]

    def _wake(self, at: float | None, now: Now) -> list[Effect]:
        if at is None or at == self._wake_at:
            return []
        self._wake_at = at
        return [Wake(max(at, now.boot_s))]


def _boot(slot: Slot) -> list[Effect]:
    """After a restart: finish or undo what was under way, run what was healthy."""
    slot.state, slot.known = "stopped", False
    if slot.record.started is not None:
        slot.known = True
        slot.changing = slot.record.started
        slot.state = "starting"
        return [_keep(slot), Change(slot.record.service, slot.record.started, resume=True)]
    if slot.record.running is None:
        slot.state, slot.known = "absent", True
    return [_keep(slot), Run(slot.record.service, slot.record.running)]


def _carry_out(slot: Slot, decision: Decision, now: Now) -> list[Effect]:
    effects: list[Effect] = []
    if decision.record is not None:
        slot.record = decision.record
        effects.append(Persist(slot.record))
        if _ended_absent(slot.record):
            slot.state, slot.since = "absent", now.wall_s  # it may have fetched what was called off
    if decision.stage is not None and slot.staging != decision.stage.digest:
        slot.staging, slot.staging_problem = decision.stage.digest, None
        if slot.record.running is None:
            slot.state, slot.since = "fetching", now.wall_s
        effects += [_keep(slot), Stage(slot.record.service, decision.stage)]
    if decision.start is not None:
        slot.confirming = decision.start
        slot.record = msgspec.structs.replace(slot.record, started=decision.start)
        effects += [_keep(slot), Persist(slot.record, confirm=True)]
    return effects


def _ended_absent(record: ServiceRecord) -> bool:
    """Whether the newest order asks for nothing to run, and nothing does."""
    ended = record.outcome_seq == record.accepted_seq and record.outcome is Rank.HEALTHY
    return ended and record.running is None


def _keep(slot: Slot) -> Keep:
    """What must stay on disk: what runs, the way back, and what is on its way."""
    record, started = slot.record, slot.changing or slot.record.started
    builds = [record.running, record.previous]
    builds += [started.build, started.previous] if started else []
    builds += [order.build for order in (slot.plan, slot.revert, slot.settled) if order]
    return Keep(record.service, frozenset(build.digest for build in builds if build))


def _finish(slot: Slot, event: Activated, now: Now) -> list[Effect]:
    started = event.started
    if slot.changing != started:
        return []
    slot.changing, slot.broken, slot.known = None, False, True
    slot.port, slot.since = event.port, now.wall_s
    slot.state = "healthy" if started.build else "absent"
    previous = started.previous if started.previous != started.build else slot.record.previous
    slot.record = msgspec.structs.replace(
        slot.record,
        running=started.build,
        previous=previous,
        started=None,
        outcome_seq=started.plan_seq,
        outcome_attempt=started.attempt,
        outcome=Rank.HEALTHY,
        reason_code="",
        reason="",
    )
    return [Persist(slot.record), _keep(slot), Run(slot.record.service, slot.record.running)]


def _fail(slot: Slot, event: ActivationFailed, now: Now) -> list[Effect]:
    started = event.started
    if slot.changing != started:
        return []
    slot.changing, slot.known, slot.broken = None, True, not event.restored
    slot.port, slot.since = event.port, now.wall_s
    slot.state = "failed"
    if event.restored:
        slot.state = "healthy" if started.previous else "absent"
    if event.code == INTERRUPTED and event.restored:
        # Our own restart undid it: no fault of the build, so it may start again when it may.
        slot.record = msgspec.structs.replace(slot.record, running=started.previous, started=None)
        return [Persist(slot.record), _keep(slot), Run(slot.record.service, slot.record.running)]
    slot.record = msgspec.structs.replace(
        slot.record,
        running=started.previous,
        started=None,
        outcome_seq=started.plan_seq,
        outcome_attempt=started.attempt,
        outcome=Rank.FAILED,
        reason_code=event.code,
        reason=event.reason[:REASON_CHARS_MAX],
    )
    return [Persist(slot.record), _keep(slot), Run(slot.record.service, slot.record.running)]


def _ran(slot: Slot, event: ServiceRan, now: Now) -> list[Effect]:
    if slot.changing is not None or slot.record.running is None:
        return []
    if slot.state != "healthy":
        slot.since = now.wall_s
    slot.state, slot.known, slot.broken = "healthy", True, False
    slot.port = event.port
    return []


def _broke(slot: Slot, event: ServiceBroke, now: Now) -> list[Effect]:
    """Outside a change the service is down: stop the plan that it was healthy under."""
    if slot.changing is not None or slot.record.running is None:
        return []
    slot.state, slot.known, slot.broken, slot.since = "failed", True, True, now.wall_s
    record = msgspec.structs.replace(
        slot.record, reason_code=event.code, reason=event.reason[:REASON_CHARS_MAX]
    )
    if record.outcome is Rank.HEALTHY:
        record = msgspec.structs.replace(record, outcome=Rank.REGRESSED)
    if record == slot.record:
        return []
    slot.record = record
    return [Persist(record)]
