"""How a release spreads: what one host says of its fetch, and what people see of all of them.

A host's :class:`FetchProgress` travels inside its deal requests (``messages/deal.py``): it speaks
to the control plane for bytes anyway, and so nobody else has to carry it.  It is the host's own
word; nothing but figures follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

import msgspec

__all__ = ["SOURCES", "FetchProgress", "Members", "Source", "SourceBytes"]

Source = Literal["origin", "rack", "cell", "wan", "local"]
"""Where bytes came from: dealt by the origin, from a host of the same fault domain, of the same
cell, of another cell; or they were on the host before, in an older release or an earlier try."""

SOURCES: tuple[Source, ...] = get_args(Source)

Members = Mapping[str, Literal["rack", "cell"]]
"""Where each address of a host's own cell is, seen from that host."""

_Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**50)]  # a petabyte: no sum over a fleet overflows
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
            origin=self.origin + other.origin,
            rack=self.rack + other.rack,
            cell=self.cell + other.cell,
            wan=self.wan + other.wan,
            local=self.local + other.local,
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
