"""What a host persists per service, before anything that depends on it happens."""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Build

__all__ = ["HostRecord", "ServiceRecord", "Started"]


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A change that has begun and has no outcome yet.

    ``build`` is what was to run (None: nothing), ``previous`` what is put back if it fails (None:
    nothing ran before, or what ran was aborted).
    ``bake_s`` is how long it must stay healthy before it counts; 0 on the way back.
    ``settled``: a SETTLED or REVERT asked for it, which was judged when it began.
    """

    plan_seq: int
    build: Build | None
    previous: Build | None
    bake_s: float
    activation_max_s: float
    settled: bool = False
    attempt: int = 0


class ServiceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The durable state of one service on one host.

    ``running`` is the last build that became healthy here, the one to run at boot, and
    ``running_seq`` the order it came with, or by which it was found to run already;
    ``running_settled``: a SETTLED or REVERT named it since, so no later ABORT is about it;
    ``outcome_*`` is how the newest plan ended here, so that a restart does not forget a failure.
    """

    service: ServiceName
    accepted_seq: int = 0  # highest plan_seq persisted; nothing below it starts
    accepted_attempt: int = 0  # at that plan; nothing of an earlier one starts
    watermark: int = 0  # highest ABORT seen; nothing up to it starts
    rollout_seq: int = 0  # highest of a ROLLOUT verified here; none below it approves anything
    rollout_watermark: int = 0  # highest ROLLOUT that was aborted; no plan of those up to it starts
    running: Build | None = None
    running_seq: int = 0
    running_settled: bool = False
    previous: Build | None = None  # kept on disk for the way back
    started: Started | None = None
    outcome_seq: int = 0
    outcome: Rank = Rank.NONE
    outcome_attempt: int = 0
    reason_code: str = ""
    reason: str = ""

    @property
    def may_start(self) -> bool:
        """Whether ``running`` may be started again, at boot or after a crash.

        ABORT and SETTLED of a service are registers: who was away sees the newest only.  So a
        build up to the watermark counts as aborted unless it is known to have settled.
        """
        return self.running_settled or not self.watermark or self.running_seq > self.watermark


class HostRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The durable state of the host: boot counter and time floor."""

    boots: int = 0
    time_floor: float = (
        0.0  # a signed time that was seen, seconds since the epoch; at most a minute old
    )
