"""What an operator asks one host's daemon: logs, status, metrics, why nothing happens, and which
releases lie there.

One TLS stream, one request, one reply, one frame each way.  The daemon serves the control plane
and operators; the caller demands the very host it asks.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from p2pdeploy.ids import CellId, Digest, HostName, ServiceName
from p2pdeploy.messages.api import ErrorBody
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.cache import Cache, CacheRequest, Pruned, PruneRequest
from p2pdeploy.messages.rates import RatesInForce

__all__ = [
    "HOST_REPLY_BYTES_MAX",
    "HOST_REQUEST_BYTES_MAX",
    "LOG_BYTES_MAX",
    "LOG_LINES_MAX",
    "HostReply",
    "HostRequest",
    "Logs",
    "LogsRequest",
    "Metrics",
    "MetricsRequest",
    "Refusal",
    "ServiceStatus",
    "Status",
    "StatusRequest",
    "Why",
    "WhyRequest",
]

HOST_REQUEST_BYTES_MAX = 1024  # names and a number
LOG_LINES_MAX = 10_000  # more than anybody reads in one go
LOG_BYTES_MAX = 2 * 1024 * 1024  # of log text in one reply
HOST_REPLY_BYTES_MAX = LOG_BYTES_MAX * 2  # a line costs a few bytes of framing beside its text


class LogsRequest(msgspec.Struct, frozen=True, kw_only=True, tag="logs?"):
    """The last lines of a service's output."""

    service: ServiceName
    lines_max: Annotated[int, msgspec.Meta(ge=1, le=LOG_LINES_MAX)] = 100


class StatusRequest(msgspec.Struct, frozen=True, kw_only=True, tag="status?"):
    """What runs there, by the daemon's own word."""


class MetricsRequest(msgspec.Struct, frozen=True, kw_only=True, tag="metrics?"):
    """Counters and gauges in Prometheus' text format."""


class WhyRequest(msgspec.Struct, frozen=True, kw_only=True, tag="why?"):
    """What holds a service's next step on this host."""

    service: ServiceName


HostRequest = (
    LogsRequest | StatusRequest | MetricsRequest | WhyRequest | CacheRequest | PruneRequest
)


class Logs(msgspec.Struct, frozen=True, kw_only=True, tag="logs"):
    """Oldest line first, printable; standard output and standard error as they were written."""

    service: ServiceName
    lines: list[str]


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One service: its newest attestation, and what holds its next step (empty: nothing)."""

    attestation: Attestation
    hold_code: str = ""
    hold: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True, tag="status"):
    """One daemon.  ``clock_offset_s`` is None until the control plane has told the time.

    ``rates``: what it keeps to in the swarm; None from a daemon that knows no limits.
    """

    host: HostName
    cell: CellId
    version: str
    pid: int
    epoch: int
    uptime_s: float
    synchronised: bool
    clock_offset_s: float | None
    is_delegate: bool
    alive: list[HostName]
    services: list[ServiceStatus]
    staged: list[Digest]
    rates: RatesInForce | None = None


class Metrics(msgspec.Struct, frozen=True, kw_only=True, tag="metrics"):
    text: str


class Why(msgspec.Struct, frozen=True, kw_only=True, tag="why"):
    """``code`` is empty when nothing holds the service."""

    service: ServiceName
    code: str
    message: str


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """The request was understood and can't be met."""

    error: ErrorBody


HostReply = Logs | Status | Metrics | Why | Cache | Pruned | Refusal
