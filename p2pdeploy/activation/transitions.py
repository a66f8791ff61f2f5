"""What becomes of one service's record when something happened to it; effects follow from it.

Each function changes the slot it is given and returns what is to be done, in order.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.activation.effects import Change, Effect, Keep, Persist, Run, Stage, StopStaging
from p2pdeploy.activation.events import (
    INTERRUPTED,
    Activated,
    ActivationFailed,
    Now,
    Progressed,
    ServiceBroke,
    ServiceRan,
    Staged,
    StagingFailed,
)
from p2pdeploy.activation.lease import Hold
from p2pdeploy.activation.record import ServiceRecord
from p2pdeploy.activation.rules import Decision
from p2pdeploy.activation.service import Slot
from p2pdeploy.messages.attestation import REASON_CHARS_MAX, Rank
from p2pdeploy.messages.orders import Revert

__all__ = ["apply", "boot", "call_off", "carry_out", "keep", "persist"]

ServiceEvent = (
    Staged | StagingFailed | Progressed | Activated | ActivationFailed | ServiceRan | ServiceBroke
)


def boot(slot: Slot, now: Now) -> list[Effect]:
    """After a restart: finish or undo what was under way, run what was healthy."""
    slot.state, slot.known = "stopped", False
    if slot.record.started is not None:
        slot.known = True
        slot.changing = slot.record.started
        slot.state = "starting"
        return [keep(slot), Change(slot.record.service, slot.record.started, resume=True)]
    if slot.record.running is None:
        slot.state, slot.known, slot.since = "absent", True, now.wall_s
    return [keep(slot), _run(slot)]


def apply(slot: Slot, event: ServiceEvent, now: Now) -> list[Effect]:
    """Take what was told of this service."""
    match event:
        case Staged():
            return _staged(slot, event, now)
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


def call_off(slot: Slot, now: Now) -> list[Effect]:
    """Fetch no more of what the governing order does not ask for: it was aborted, or is over."""
    duty = slot.duty()
    wanted = duty.build.digest if duty is not None and duty.build is not None else None
    ahead = {build.digest for build in slot.ahead}
    if slot.staging is None or slot.staging in ahead | {wanted}:
        return []
    slot.staging, slot.staging_problem = None, None
    if slot.state == "fetching":  # nothing ran before it
        slot.state, slot.since = "absent", now.wall_s
    return [StopStaging(slot.record.service)]


def carry_out(slot: Slot, decision: Decision, now: Now) -> list[Effect]:
    effects: list[Effect] = []
    if decision.record is not None:
        before, slot.record = slot.record, decision.record
        if slot.record.accepted_seq > before.accepted_seq and not _on_the_way_back(slot):
            slot.fetched_bytes = slot.reused_bytes = 0  # the figures are one order's
        effects += persist(slot, before)
        if _ended_absent(slot.record):
            slot.state, slot.since = "absent", now.wall_s  # it may have fetched what was called off
    if decision.stage is not None and slot.staging != decision.stage.digest:
        slot.staging, slot.staging_problem = decision.stage.digest, None
        if slot.record.running is None:
            slot.state, slot.since = "fetching", now.wall_s
        effects += [keep(slot), Stage(slot.record.service, decision.stage)]
    if decision.start is not None:
        slot.confirming = decision.start
        slot.record = msgspec.structs.replace(slot.record, started=decision.start)
        effects += [keep(slot), Persist(slot.record, confirm=True)]
    return effects


def _ended_absent(record: ServiceRecord) -> bool:
    """Whether the newest order asks for nothing to run, and nothing does."""
    ended = record.outcome_seq == record.accepted_seq and record.outcome is Rank.HEALTHY
    return ended and record.running is None


def persist(slot: Slot, before: ServiceRecord) -> list[Effect]:
    """Store the record, which was *before*; tell when what runs may no longer, or again, start."""
    effects: list[Effect] = [Persist(slot.record)]
    if slot.known and slot.changing is None and slot.record.may_start != before.may_start:
        effects.append(_run(slot))
    return effects


def _run(slot: Slot) -> Run:
    """Supervise the build of record; one that was aborted after it became healthy only stays."""
    return Run(slot.record.service, slot.record.running, start=slot.record.may_start)


def keep(slot: Slot) -> Keep:
    """What must stay on disk: what runs, the way back, what is on its way, and what is prefetched.

    The rest may be collected from now on, so it no longer counts as staged.
    """
    record, started = slot.record, slot.changing or slot.record.started
    builds = [record.running, record.previous]
    builds += [started.build, started.previous] if started else []
    builds += [order.build for order in (slot.plan, slot.revert, slot.settled) if order]
    digests = frozenset(build.digest for build in (*builds, *slot.ahead) if build)
    slot.staged &= digests
    slot.staged_ahead &= digests
    return Keep(record.service, digests, record.previous.digest if record.previous else None)


def _staged(slot: Slot, event: Staged, now: Now) -> list[Effect]:
    """It lies on the disk; the next look says whether it is to start."""
    is_ahead = _is_only_ahead(slot, event)
    (slot.staged_ahead if is_ahead else slot.staged).add(event.digest)
    if slot.staging == event.digest:
        slot.staging, slot.staging_problem = None, None
        if slot.state == "fetching":
            slot.state, slot.since = "staged", now.wall_s
    if not _on_the_way_back(slot) and not is_ahead:
        slot.fetched_bytes += event.fetched_bytes  # again in a later attempt
        slot.reused_bytes += event.reused_bytes
    return []


def _on_the_way_back(slot: Slot) -> bool:
    """Then what the aborted plan moved goes on being told; what the way back moves is not its."""
    return isinstance(slot.duty(), Revert)


def _is_only_ahead(slot: Slot, event: Staged) -> bool:
    """Whether it came for a PREFETCH, which the figures of an order don't count."""
    duty = slot.duty()
    is_for_duty = duty is not None and duty.build is not None and duty.build.digest == event.digest
    return not is_for_duty and any(build.digest == event.digest for build in slot.ahead)


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
        running_seq=started.plan_seq,
        running_settled=started.settled or slot.has_settled(started.build, started.plan_seq),
        previous=previous,
        started=None,
        outcome_seq=started.plan_seq,
        outcome_attempt=started.attempt,
        outcome=Rank.HEALTHY,
        reason_code="",
        reason="",
    )
    return [Persist(slot.record), keep(slot), _run(slot)]


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
        return [Persist(slot.record), keep(slot), _run(slot)]
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
    return [Persist(slot.record), keep(slot), _run(slot)]


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
    slot.port = event.port or slot.port
    record = msgspec.structs.replace(
        slot.record, reason_code=event.code, reason=event.reason[:REASON_CHARS_MAX]
    )
    if record.outcome is Rank.HEALTHY:
        record = msgspec.structs.replace(record, outcome=Rank.REGRESSED)
    if record == slot.record:
        return []
    slot.record = record
    return [Persist(record)]
