"""Which releases lie on hosts' disks, how much room there is, and deleting what nobody needs.

``CacheRequest`` and ``PruneRequest`` go to one host's daemon (``messages/host.py``); the
``...View`` documents are the control plane's, over many hosts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from p2pdeploy.ids import Digest, HostName, ServiceName, Version
from p2pdeploy.messages.api import Document, ErrorBody

__all__ = [
    "CACHE_HOSTS_MAX",
    "CACHE_RELEASES_MAX",
    "Cache",
    "CacheRequest",
    "CacheState",
    "CacheTarget",
    "CacheView",
    "CachedRelease",
    "CachedReleaseView",
    "PruneRequest",
    "Pruned",
]

CACHE_RELEASES_MAX = 1_000  # of one host; with 64 services of a dozen releases each it has fewer
CACHE_HOSTS_MAX = 64  # asked in one call; callers page on

CacheState = Literal["active", "rollback", "planned", "unused", "unknown"]
"""Why a release lies on a host.

========  ===================================================================
active    a service runs from it
rollback  a service goes back to it when its next version fails
planned   an order asks for it, or it is being staged
unused    nobody needs it: it goes by itself, or when room is needed
unknown   nobody has asked for it since the daemon started, which was just now
========  ===================================================================
"""

_Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_Label = Annotated[str, msgspec.Meta(max_length=63)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, lt=253_402_300_800)]  # the year 10,000; no NaN


class CacheRequest(msgspec.Struct, frozen=True, kw_only=True, tag="cache?"):
    """What lies on the disk.  Any operator may ask."""


class PruneRequest(msgspec.Struct, frozen=True, kw_only=True, tag="prune!"):
    """Delete what is unused, now.  Only the control plane may ask: it judges roles, and audits."""


class CachedRelease(msgspec.Struct, frozen=True, kw_only=True):
    """One release, by its host's word.

    ``service`` is empty while not even its manifest is there.  ``staged_at`` is when it was whole,
    0 before; ``used_at`` when it was asked for last, to the hour.  Seconds since the epoch.
    """

    digest: Digest
    service: ServiceName
    size_bytes: _Bytes
    state: CacheState
    staged_at: _Seconds
    used_at: _Seconds


class Cache(msgspec.Struct, frozen=True, kw_only=True, tag="cache"):
    """One host.  Of ``free_bytes`` no release takes ``reserve_bytes``; ``held_bytes`` are spoken
    for by releases being fetched.  ``needed_bytes`` is what ``waiting`` releases lack room for.
    """

    releases: Annotated[list[CachedRelease], msgspec.Meta(max_length=CACHE_RELEASES_MAX)]
    free_bytes: _Bytes
    reserve_bytes: _Bytes
    held_bytes: _Bytes
    waiting: _Count
    needed_bytes: _Bytes


class Pruned(msgspec.Struct, frozen=True, kw_only=True, tag="pruned"):
    """What was deleted."""

    releases: Annotated[list[CachedRelease], msgspec.Meta(max_length=CACHE_RELEASES_MAX)]


class CacheTarget(Document, frozen=True, forbid_unknown_fields=True):
    """Hosts by name, or all of an environment and machine function; those behind ``after``."""

    hosts: Annotated[tuple[HostName, ...], msgspec.Meta(max_length=CACHE_HOSTS_MAX)] = ()
    environment: _Label = ""
    machine_function: _Label = ""
    after: _Label = ""


class CachedReleaseView(Document, frozen=True):
    """One release on one host.  ``versions``: every one that was published with these bytes."""

    digest: Digest
    service: ServiceName
    versions: list[Version]
    size_bytes: int
    state: CacheState
    staged_at: datetime | None
    used_at: datetime


class CacheView(Document, frozen=True):
    """One host's disk of releases; or, after a prune, what was deleted there and the rest.

    ``error`` says why its daemon did not answer; the figures are 0 then.
    """

    host: HostName
    releases: tuple[CachedReleaseView, ...] = ()
    pruned: tuple[CachedReleaseView, ...] = ()
    free_bytes: int = 0
    reserve_bytes: int = 0
    held_bytes: int = 0
    waiting: int = 0
    needed_bytes: int = 0
    error: ErrorBody | None = None
