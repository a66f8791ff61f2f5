"""How a release spreads: what one host says of its fetch, and what people see of all of them.

A host's :class:`FetchProgress` travels inside its deal requests (``messages/deal.py``): it speaks
to the control plane for bytes anyway, and so nobody else has to carry it.  It is the host's own
word; nothing but figures follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, get_args

import msgspec

from p2pdeploy.ids import HostName, RolloutId, ServiceName, Version

__all__ = [
    "BYTES_MAX",
    "POINTS_MAX",
    "SOURCES",
    "STRAGGLERS_SHOWN_MAX",
    "CoveragePoint",
    "FetchProgress",
    "Members",
    "Source",
    "SourceBytes",
    "SpreadView",
    "Straggler",
    "StragglerCause",
    "SwarmView",
]

POINTS_MAX = 512  # of a curve: one for every two columns of a wide screen
STRAGGLERS_SHOWN_MAX = 16  # the worst; people act on a few, and causes repeat

Source = Literal["origin", "rack", "cell", "wan", "local"]
"""Where bytes came from: dealt by the origin, from a host of the same fault domain, of the same
cell, of another cell; or they were on the host before, in an older release or an earlier try."""

SOURCES: tuple[Source, ...] = get_args(Source)

Members = Mapping[str, Literal["rack", "cell"]]
"""Where each address of a host's own cell is, seen from that host."""

BYTES_MAX = 2**62  # four exabytes: 3 million hosts with a terabyte each; sums stop there

_Bytes = Annotated[int, msgspec.Meta(ge=0, le=BYTES_MAX)]
_Rate = Annotated[int, msgspec.Meta(ge=0, le=2**40)]  # a terabyte a second
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**20)]  # of pieces or peers
_Seconds = Annotated[float, msgspec.Meta(ge=0, lt=1e9)]  # thirty years; no NaN


class SourceBytes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Payload by where it came from, duplicates included."""

    origin: _Bytes = 0
    rack: _Bytes = 0
    cell: _Bytes = 0
    wan: _Bytes = 0
    local: _Bytes = 0

    def __add__(self, other: SourceBytes) -> SourceBytes:
        return SourceBytes(
            origin=min(self.origin + other.origin, BYTES_MAX),
            rack=min(self.rack + other.rack, BYTES_MAX),
            cell=min(self.cell + other.cell, BYTES_MAX),
            wan=min(self.wan + other.wan, BYTES_MAX),
            local=min(self.local + other.local, BYTES_MAX),
        )

    def at_most(self, bytes_max: int) -> SourceBytes:
        """The same, each source cut off at *bytes_max*."""
        return SourceBytes(
            origin=min(self.origin, bytes_max),
            rack=min(self.rack, bytes_max),
            cell=min(self.cell, bytes_max),
            wan=min(self.wan, bytes_max),
            local=min(self.local, bytes_max),
        )

    @property
    def network(self) -> int:
        """What came over the network."""
        return self.origin + self.rack + self.cell + self.wan


class FetchProgress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One host's fetch of one release, by its own measurements.

    ``have_bytes`` are verified and written.  Rates are goodput; ``*_peak_*`` the highest that this
    daemon ever measured, over some seconds, 0 before the first.
    ``lacking_pieces`` of which ``offered_pieces`` are on connected neighbours; of its ``peers``
    ``peers_willing`` let it download and ``peers_disk_bound`` wait for its disk.  ``store_s`` is
    what hashing and writing a dealt piece takes here.
    ``began_ago_s`` and ``ended_ago_s`` (None: not complete) count back from this word.
    """

    have_bytes: _Bytes
    received: SourceBytes
    down_bytes_per_s: _Rate = 0
    down_peak_bytes_per_s: _Rate = 0
    up_peak_bytes_per_s: _Rate = 0
    lacking_pieces: _Count = 0
    offered_pieces: _Count = 0
    peers: _Count = 0
    peers_willing: _Count = 0
    peers_disk_bound: _Count = 0
    store_s: _Seconds = 0.0
    began_ago_s: _Seconds = 0.0
    ended_ago_s: _Seconds | None = None


StragglerCause = Literal["disk", "link", "source", "control"]
"""Why a host is behind the others: it cannot write; its own link is slow; nobody near has or gives
what it lacks; or it has not begun, is not heard, or began late."""


class Straggler(msgspec.Struct, frozen=True, kw_only=True):
    """A host behind the others.  ``coverage``: the share of the release that it has, 0 to 1."""

    host: HostName
    cause: StragglerCause
    coverage: float
    message: str


class SwarmView(msgspec.Struct, frozen=True, kw_only=True):
    """How far a release has spread under one rollout, against what the network allows.

    ``coverage`` is the share of all bytes on all hosts, 0 to 1.  Seconds count from when the
    rollout was accepted.  ``limit_s`` is what origin and links need at the goodput measured so
    far, None before any was.  ``p50_s`` and ``last_s`` are when half of the hosts, and all of
    them, were complete; ``p50_x`` and ``last_x`` the same as multiples of the limit, and
    ``so_far_x`` until then the time so far over what the limit needs for as many bytes.
    ``stragglers`` are the worst; ``stragglers_more`` counts the rest.
    """

    size_bytes: int
    hosts: int
    hosts_complete: int
    coverage: float
    received: SourceBytes
    limit_s: float | None = None
    p50_s: float | None = None
    last_s: float | None = None
    p50_x: float | None = None
    last_x: float | None = None
    so_far_x: float | None = None
    stragglers: list[Straggler] = []
    stragglers_more: int = 0


class CoveragePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the release, 0 to 1: over all hosts, on the median host, on the one with least."""

    at_s: float
    coverage: float
    p50: float
    least: float


class SpreadView(msgspec.Struct, frozen=True, kw_only=True):
    """What ``swarm plot`` draws: at most ``POINTS_MAX`` points, evenly apart."""

    rollout: RolloutId
    service: ServiceName
    version: Version
    began_at: datetime
    swarm: SwarmView
    points: list[CoveragePoint]
