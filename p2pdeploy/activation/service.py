"""One service on one host: its orders, its evidence, its state, and which order governs.

Nothing here decides when to start; :mod:`~p2pdeploy.activation.host` does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import msgspec

from p2pdeploy.activation.bounds import has_ended
from p2pdeploy.activation.lease import Hold
from p2pdeploy.activation.record import ServiceRecord, Started
from p2pdeploy.codec import encode
from p2pdeploy.ids import Digest, HostName
from p2pdeploy.limits import CELL_HOSTS_MAX
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.attestation import Attestation, Rank, ServiceState
from p2pdeploy.messages.orders import (
    Abort,
    Build,
    Excuse,
    Plan,
    Prefetch,
    Retry,
    Revert,
    Rollout,
    Roster,
    Settled,
)

__all__ = ["Duty", "Slot"]

Duty = Plan | Revert | Settled
"""The order that governs a service now."""


@dataclass
class Slot:
    """Everything this host knows about one service.  Owned by one HostActivation."""

    me: HostName
    record: ServiceRecord
    rollout: Rollout | None = None
    plan: Plan | None = None
    revert: Revert | None = None
    roster: Roster | None = None
    roster_digest: str = ""
    excuse: Excuse | None = None
    retry: Retry | None = None
    settled: Settled | None = None
    prefetch: Prefetch | None = None
    evidence: dict[HostName, Attestation] = field(default_factory=dict[HostName, Attestation])

    staged: set[Digest] = field(default_factory=set[Digest])
    ahead: tuple[Build, ...] = ()  # what the PREFETCH asks of this host now
    ahead_until_boot_s: float = math.inf  # when the first of them is over
    # Not in ``staged``: before an order starts it, its release is judged once more.
    staged_ahead: set[Digest] = field(default_factory=set[Digest])
    staging: Digest | None = None
    staging_problem: Hold | None = None  # why it takes long; the shell goes on trying
    confirming: Started | None = None  # journaled, waiting for the last look at GO and ABORT
    changing: Started | None = None  # the shell carries it out
    gate_open_since: float | None = None
    hold: Hold | None = None

    state: ServiceState = "absent"
    known: bool = False  # whether what runs has been seen since boot
    broken: bool = False
    port: int = 0
    since: float = 0.0
    fetched_bytes: int = 0
    reused_bytes: int = 0
    mine: Attestation | None = None

    def learn(self, message: object) -> None:
        """Keep *message* if it is newer than what is known; order of arrival does not matter.

        Of a REVERT and a SETTLED it keeps what they ask of this host.
        """
        match message:
            case Rollout():
                if self.rollout is None or message.rollout_seq > self.rollout.rollout_seq:
                    self.rollout = message
                self._note(rollout_seq=max(self.record.rollout_seq, message.rollout_seq))
            case Plan():
                if self.plan is None or message.plan_seq > self.plan.plan_seq:
                    self.plan = message
                    self.gate_open_since = None
            case Revert():
                if self.revert is None or message.plan_seq > self.revert.plan_seq:
                    self.revert = message.for_host(self.me)
            case Roster():
                if self.roster is None or message.plan_seq > self.roster.plan_seq:
                    self.roster = message
                    self.roster_digest = digest_of(encode(message))
            case Excuse():
                known = (self.excuse.plan_seq, self.excuse.excuse_seq) if self.excuse else (-1, -1)
                if (message.plan_seq, message.excuse_seq) > known:
                    self.excuse = message
            case Retry():
                known = (self.retry.plan_seq, self.retry.attempt) if self.retry else (-1, -1)
                if (message.plan_seq, message.attempt) > known:
                    self.retry = message
                    self.gate_open_since = None
            case Settled():
                known = (self.settled.plan_seq, self.settled.issued_at) if self.settled else (-1, 0)
                if (message.plan_seq, message.issued_at) > known:
                    self.settled = message.for_host(self.me)
            case Prefetch():
                if self.prefetch is None or message.prefetch_seq > self.prefetch.prefetch_seq:
                    self.prefetch = message
                    self.ahead_until_boot_s = -math.inf  # looked at anew
            case Abort():
                self._note(
                    watermark=max(self.record.watermark, message.watermark),
                    rollout_watermark=max(self.record.rollout_watermark, message.rollout_seq),
                )
            case Attestation():
                known = self.evidence.get(message.host)
                newer = known is None or (message.epoch, message.seq) > (known.epoch, known.seq)
                if newer and (known is not None or len(self.evidence) < CELL_HOSTS_MAX):
                    self.evidence[message.host] = message
            case _:
                raise AssertionError(f"not of one service: {message!r}")

        self._note_settled()

    def forget(self, kind: str, host: HostName) -> None:
        """Drop what stood under the gossip key ``kind/SERVICE`` or ``att/SERVICE/host``.

        Numbers that were noted on disk stay, so of an ABORT nothing is dropped.
        """
        match kind:
            case "rollout":
                self.rollout = None
            case "plan":
                self.plan = None
            case "revert":
                self.revert = None
            case "roster":
                self.roster, self.roster_digest = None, ""
            case "excuse":
                self.excuse = None
            case "retry":
                self.retry = None
            case "settled":
                self.settled = None
            case "prefetch":
                self.prefetch, self.ahead_until_boot_s = None, -math.inf
            case "att":
                self.evidence.pop(host, None)
            case _:
                assert kind == "abort", f"not of one service: {kind!r}"
        self.gate_open_since = None  # what opened it may be among what is gone

    def _note(self, **changes: int) -> None:
        self.record = msgspec.structs.replace(self.record, **changes)

    def _note_settled(self) -> None:
        record = self.record
        if not record.running_settled and self.has_settled(record.running, record.running_seq):
            self._note(running_settled=True)

    def has_settled(self, build: Build | None, since_seq: int) -> bool:
        """Whether *build*, which came with order *since_seq*, is where this service ended since.

        A SETTLED says so, and the REVERT of an aborted plan, inside the newest ROLLOUT.
        """
        ends: list[Settled | Revert] = [self.settled] if self.settled else []
        if self.revert is not None and self.revert.plan_seq - 1 <= self.record.watermark:
            ends.append(self.revert)
        return any(
            end.plan_seq >= since_seq
            and end.build == build
            and has_ended(end, self.rollout, self.record, self.me)
            for end in ends
        )

    def duty(self) -> Duty | None:
        """The order that governs: the newest of live PLAN, REVERT of a dead one, and SETTLED."""
        watermark = self.record.watermark
        settled_seq = self.settled.plan_seq if self.settled else -1
        if self.plan is not None:
            seq = self.plan.plan_seq
            if seq > watermark and seq > settled_seq:
                return self.plan
            way_back = self.revert
            if (
                seq <= watermark
                and way_back is not None
                and way_back.plan_seq == seq + 1
                and way_back.plan_seq > max(watermark, settled_seq)
            ):
                return way_back
        if self.settled is not None and settled_seq > watermark:
            return self.settled
        return None

    def roster_for(self, duty: Plan | Revert) -> Roster | None:
        """The roster whose digest *duty* names, if it has arrived."""
        return self.roster if duty.roster_digest == self.roster_digest else None

    def excused(self, plan_seq: int) -> frozenset[HostName]:
        if self.excuse is None or self.excuse.plan_seq != plan_seq:
            return frozenset()
        return frozenset(self.excuse.hosts)

    def attempt(self, plan_seq: int) -> int:
        """Which attempt at this plan is under way; 0 is the first."""
        record, retry = self.record, self.retry
        accepted = record.accepted_attempt if record.accepted_seq == plan_seq else 0
        told = retry.attempt if retry is not None and retry.plan_seq == plan_seq else 0
        return max(accepted, told)

    def runs(self, build: Build | None) -> bool:
        """Whether *build* is the last one that became healthy here (None: nothing is).

        The same bytes under another version are another build: the service is told its version.
        """
        return self.record.running == build

    def has_ahead(self, build: Build) -> bool:
        """Whether *build* is on this disk, for an order that governs or ahead of one."""
        return build.digest in self.staged or build.digest in self.staged_ahead

    def trouble(self) -> Hold | None:
        """What holds this host that is its own to mend, so that the cell is told of it."""
        if self.hold is not None and self.hold.code in ("clock-unsynchronised", "clock-behind"):
            return self.hold
        return self.staging_problem

    def has_outcome(self, plan_seq: int) -> bool:
        """Whether this host ended its part of the order, in the attempt that is under way."""
        record = self.record
        ended = record.outcome_seq == plan_seq and record.outcome >= Rank.HEALTHY
        return ended and record.outcome_attempt >= self.attempt(plan_seq)

    def rank(self, duty: Duty | None) -> tuple[int, int, Rank]:
        """(plan_seq, attempt, rank) to attest: how far this host is with *duty*."""
        record = self.record
        if self.changing is not None:
            return self.changing.plan_seq, self.changing.attempt, Rank.STARTED
        ended = record.outcome_seq, record.outcome_attempt, record.outcome
        if duty is None or record.accepted_seq < duty.plan_seq:
            return ended
        if ended >= (duty.plan_seq, record.accepted_attempt, Rank.HEALTHY):
            return ended
        staged = duty.build is None or duty.build.digest in self.staged
        return duty.plan_seq, record.accepted_attempt, Rank.STAGED if staged else Rank.ACCEPTED
