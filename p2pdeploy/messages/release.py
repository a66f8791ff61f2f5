"""The registry's word that a version of a service is this manifest.

Sealed once, at publish commit, and served as the octets it was stored as; a host opens it before
it fetches anything of a release.  Unlike an order it is no item of a cell's state.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import Digest, ServiceName, Version

__all__ = ["Release"]


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="release"):
    """``published_at`` is in seconds since the epoch; ``size_bytes`` is the manifest's own sum."""

    service: ServiceName
    version: Version
    manifest_digest: Digest
    size_bytes: int
    published_at: float
