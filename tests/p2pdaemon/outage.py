"""A fleet that renews, event by event: production schedules and gate, and a control plane of
which only the time that its work takes is made up.

It tells what happened; judging that is the tests' business.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from contextlib import AbstractContextManager

import msgspec

from p2pdaemon.enrolment_client import CALL_TIMEOUT_S, RETRY_S_MAX, TRIES_MAX
from p2pdaemon.renewal_schedule import RenewalSchedule
from p2pdeploy.trust.host_identity import Validity
from p2ptracker.enrolment.gate import BusyError, IssuingGate

DAY_S = 86_400.0


class Speed(msgspec.Struct, frozen=True):
    """What one connection and one issuance take of a control plane, each one after the other."""

    handshake_s: float
    issue_s: float

    @property
    def per_s(self) -> float:
        """What it could do if both took turns on one core."""
        return 1 / (self.handshake_s + self.issue_s)


MEASURED = Speed(0.006, 0.004)  # slower than benchmarks/enrolment.py has it


class Trace(msgspec.Struct):
    """What happened.  ``asked``: attempts by the second.  ``renewed``: when, and who."""

    asked: Counter[int] = msgspec.field(default_factory=Counter[int])
    renewed: list[tuple[float, int]] = msgspec.field(default_factory=list)
    sent_away: int = 0
    timed_out: int = 0


class _Issuing(msgspec.Struct):
    done_at: float
    host: int
    place: AbstractContextManager[None]


class Outage:
    """Hosts that renew with one control plane.

    Args:
        hosts: How many.
        seed: Of all that is drawn.
        down: From when to when the control plane does not answer.
        speed: Of the control plane.
    """

    def __init__(
        self,
        hosts: int,
        seed: int,
        down: tuple[float, float] = (0.0, 0.0),
        speed: Speed = MEASURED,
    ) -> None:
        self.trace = Trace()
        self.expires_at = [0.0] * hosts
        self._schedules = [RenewalSchedule(random.Random(f"{seed}/{n}")) for n in range(hosts)]
        self._tries, self._asked_at = [0] * hosts, [0.0] * hosts
        self._down, self._speed = down, speed
        self._gate = IssuingGate(random.Random(seed))
        self._issuing: deque[_Issuing] = deque()
        self._greeter_free_at = self._issuer_free_at = 0.0
        self._events: list[tuple[float, int, int, bool]] = []
        self._planned = 0

    def begin(self, host: int, validity: Validity | None, *, at: float = 0.0) -> None:
        """The daemon of *host* starts; with None for what it holds it asks at once."""
        self.expires_at[host] = validity.expires_at if validity else at
        self._plan(max(self._schedules[host].due_at(validity), at), host)

    def run(self, until: float) -> None:
        """Let everything up to *until* happen."""
        while self._events and self._events[0][0] <= until:
            now, _, host, is_at_desk = heapq.heappop(self._events)
            self._finish(now)
            if is_at_desk:
                self._arrive(now, host)
            else:
                self._ask(now, host)
        self._finish(until)

    def _plan(self, at: float, host: int, *, is_at_desk: bool = False) -> None:
        self._planned += 1  # of two at one moment the first that was planned comes first
        heapq.heappush(self._events, (at, self._planned, host, is_at_desk))

    def _ask(self, now: float, host: int) -> None:
        self.trace.asked[int(now)] += 1
        if self._down[0] <= now < self._down[1]:
            self._fail(now, host)
            return
        self._asked_at[host] = now
        self._greeter_free_at = max(now, self._greeter_free_at) + self._speed.handshake_s
        if self._greeter_free_at - now > CALL_TIMEOUT_S:  # shaken hands with nobody
            self.trace.timed_out += 1
            self._fail(now + CALL_TIMEOUT_S, host)
            return
        self._plan(self._greeter_free_at, host, is_at_desk=True)

    def _arrive(self, now: float, host: int) -> None:
        place = self._gate.admitted()
        try:
            place.__enter__()
        except BusyError as busy:
            self.trace.sent_away += 1
            self._tries[host] += 1
            if self._tries[host] < TRIES_MAX:
                self._plan(now + min(busy.retry_after_s, RETRY_S_MAX), host)
            else:
                self._fail(now, host)
            return
        self._issuer_free_at = max(now, self._issuer_free_at) + self._speed.issue_s
        self._issuing.append(_Issuing(self._issuer_free_at, host, place))

    def _finish(self, now: float) -> None:
        while self._issuing and self._issuing[0].done_at <= now:
            issued = self._issuing.popleft()
            issued.place.__exit__(None, None, None)
            at, host = issued.done_at, issued.host
            if at - self._asked_at[host] > CALL_TIMEOUT_S:  # made, and nobody takes it
                self.trace.timed_out += 1
                self._fail(at, host)
                continue
            self.trace.renewed.append((at, host))
            self._tries[host] = 0
            self.expires_at[host] = at + DAY_S
            self._plan(self._schedules[host].due_at(Validity(at, at + DAY_S)), host)

    def _fail(self, now: float, host: int) -> None:
        self._tries[host] = 0
        self._plan(now + self._schedules[host].pause_s(), host)
