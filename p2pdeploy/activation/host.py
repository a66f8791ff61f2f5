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

from p2pdeploy.activation.attesting import Speaker, attest, say_again
from p2pdeploy.activation.effects import Change, Effect, Persist, Wake
from p2pdeploy.activation.events import (
    Booted,
    CredentialReplaced,
    Event,
    MembersChanged,
    MessageMerged,
    Now,
    OrdersRefused,
    Persisted,
    Woken,
)
from p2pdeploy.activation.lease import Hold, ReceivedGo
from p2pdeploy.activation.permission import Context, last_look
from p2pdeploy.activation.prefetching import look_ahead, stage_ahead
from p2pdeploy.activation.record import HostRecord, ServiceRecord
from p2pdeploy.activation.rules import decide
from p2pdeploy.activation.service import Slot
from p2pdeploy.activation.time_floor import TimeFloor
from p2pdeploy.activation.transitions import apply, boot, call_off, carry_out, persist
from p2pdeploy.ids import CellId, FaultDomain, HostName, ServiceName
from p2pdeploy.limits import SERVICES_PER_HOST_MAX
from p2pdeploy.messages.orders import Go
from p2pdeploy.messages.rates import RateLimits
from p2pdeploy.trust.credential import Credential
from p2pdeploy.trust.envelope import Sealed
from p2pdeploy.trust.revocations import Revocations

__all__ = ["HostActivation"]


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
        self._speaker = Speaker(me, cell, fault_domain, epoch)
        self._slots = {record.service: Slot(me, record) for record in records}
        self._time_floor = TimeFloor(host_record or HostRecord())
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
            if slot.ahead:
                wakes.append(slot.ahead_until_boot_s)
        for _, slot in sorted(self._slots.items()):
            effects += attest(slot, self._speaker)
        return effects + self._wake(min(wakes, default=None), now)

    # -- what an event changes ---------------------------------------------------------------

    def _apply(self, event: Event, now: Now) -> list[Effect]:
        match event:
            case Booted():
                return [effect for slot in self._slots.values() for effect in boot(slot, now)]
            case MessageMerged():
                return self._learn(event.message, now)
            case OrdersRefused():
                self._forget(event.keys)
                return []
            case MembersChanged():
                self._alive = event.alive | {self._me}
                return []
            case Woken():
                self._wake_at = None
                return []
            case CredentialReplaced():
                slots = [slot for _, slot in sorted(self._slots.items())]
                return [effect for slot in slots for effect in say_again(slot)]
            case Persisted():
                return self._confirm(self._slots[event.service], now)
            case _:
                slot = self._slots.get(event.service)
                return apply(slot, event, now) if slot else []

    def _learn(self, message: Sealed, now: Now) -> list[Effect]:
        cell = self._speaker.cell
        if getattr(message, "cell", cell) != cell:
            return []
        effects: list[Effect] = [*self._time_floor.learn(getattr(message, "issued_at", 0.0), now)]
        if isinstance(message, Go):
            if self._go is None or message.lease_seq > self._go.go.lease_seq:
                self._go = ReceivedGo(message, now.boot_s)
            return effects
        if isinstance(message, Credential | Revocations | RateLimits):
            return effects  # says nothing about a service
        slot = self._slot(message.service, now)
        if slot is None:
            return effects
        before = slot.record
        slot.learn(message)
        if slot.record == before:
            return effects
        return [*effects, *persist(slot, before)]

    def _forget(self, keys: Iterable[str]) -> None:
        """Drop from memory what keys that are gone sealed; what runs or is being changed goes on.

        It counts by its numbers: a thief's GO with a high one would keep every later GO out.
        """
        for key in keys:
            kind, _, rest = key.partition("/")
            if kind == "go":
                self._go = None
            service, _, host = rest.partition("/")
            slot = self._slots.get(ServiceName(service))
            if slot is not None:
                slot.forget(kind, HostName(host))
        self._time_floor.forget()

    def _slot(self, service: ServiceName, now: Now) -> Slot | None:
        slot = self._slots.get(service)
        if slot is None and len(self._slots) < SERVICES_PER_HOST_MAX:
            record = ServiceRecord(service=service)
            slot = self._slots[service] = Slot(self._me, record, known=True, since=now.wall_s)
        return slot

    # -- what a service does next ------------------------------------------------------------

    def _advance(self, slot: Slot, now: Now) -> list[Effect]:
        effects = look_ahead(slot, now)  # during a change as well, or its Wake comes at once again
        if slot.confirming is not None or slot.changing is not None:
            slot.hold = None
            return effects
        effects += call_off(slot, now)
        for _ in range(4):  # accept, record an outcome, stage, start: each at most once a look
            decision = decide(slot, self._context(now), busy_with=self._busy_with(slot))
            slot.hold = decision.hold
            more = carry_out(slot, decision, now)
            effects += more
            if not more or decision.start is not None:
                break
        return effects + stage_ahead(slot)

    def _context(self, now: Now) -> Context:
        return Context(self._me, self._go, self._alive, self._time_floor.wall_s, now)

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
        slot.hold = last_look(slot, started, self._context(now))
        if slot.hold is not None:
            slot.record = msgspec.structs.replace(slot.record, started=None)
            return [Persist(slot.record)]
        slot.changing = started
        # The word names the new build from here on, which nobody may take for healthy.
        slot.state, slot.since = "starting", now.wall_s
        return [Change(slot.record.service, started)]

    def _wake(self, at: float | None, now: Now) -> list[Effect]:
        if at is None or at == self._wake_at:
            return []
        self._wake_at = at
        return [Wake(max(at, now.boot_s))]
