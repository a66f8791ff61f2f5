"""What a host must remember of release metadata, so that nobody can take it back in time."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import msgspec

from p2pdeploy.codec import UNDECODABLE, decode, encode
from p2pdeploy.errors import ProtocolError
from p2pdeploy.limits import SERVICES_PER_HOST_MAX
from p2pdeploy.trust.releases.limits import SEEN_BYTES_MAX
from p2pdeploy.trust.releases.refusals import Attack, refused

__all__ = ["Seen", "SeenRole"]

_TOP_ROLES = 3  # timestamp, snapshot, targets; the root is kept whole
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
_TIME_S_MAX = 2.0**37  # the year 6325; lifetimes can still be added to it

_Time = Annotated[float, msgspec.Meta(ge=0, le=_TIME_S_MAX)]


class SeenRole(msgspec.Struct, frozen=True, array_like=True):
    """The newest version seen of a role, and the ids of the keys that could have signed it."""

    version: int
    key_ids: tuple[str, ...]


class _RootSigned(msgspec.Struct, frozen=True):
    version: Annotated[int, msgspec.Meta(ge=1)]


class _RootDocument(msgspec.Struct, frozen=True):
    """As much of a root document as must be known before it is judged."""

    signed: _RootSigned


class Seen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The host's memory: written durably before anything is done about what was verified.

    ``private_files.write_private`` writes it whole or not at all.  A host without it trusts its
    first root as when it joined, and can be shown anything that has not expired.

    Attributes:
        root: The newest root document, from which trust goes on.
        roles: ``timestamp``, ``snapshot``, ``targets`` and ``svc/NAME`` of this host's services.
        time_floor_s: No time before this is believed, in seconds since the epoch.
    """

    root: bytes
    roles: dict[str, SeenRole] = {}
    time_floor_s: _Time = 0.0

    def to_bytes(self) -> bytes:
        """As it is kept on disk."""
        return encode(self)

    @staticmethod
    def from_bytes(data: bytes) -> Seen:
        """Read it again.

        Raises:
            TrustError: these bytes are something else; the host must join again.
        """
        try:
            return decode(data, Seen, bytes_max=SEEN_BYTES_MAX)
        except ProtocolError as error:
            raise refused(
                Attack.MALFORMED, f"what was seen is unreadable: {error.message}", where="seen"
            ) from error

    @property
    def root_version(self) -> int:
        """The number of the root; whoever sends a bundle need not send it and those before.

        Raises:
            TrustError: it is no root.
        """
        try:
            return msgspec.json.decode(self.root, type=_RootDocument).signed.version
        except UNDECODABLE as error:
            raise refused(Attack.MALFORMED, "no version", where="root") from error

    @property
    def time_floor(self) -> dt.datetime:
        """As a time in UTC."""
        return _EPOCH + dt.timedelta(seconds=self.time_floor_s)

    def version_of(self, role: str, key_ids: tuple[str, ...]) -> int:
        """The least version of *role* to accept; 0 for any.

        A key that was taken from the role since may have been stolen and have signed the highest
        version there is, so what it could have signed is forgotten: this is how a fleet recovers
        from a fast-forward attack (TUF 5.3.11).  A key that only came adds nothing to forget.
        """
        seen = self.roles.get(role)
        if seen is None or not set(seen.key_ids) <= set(key_ids):
            return 0
        return seen.version

    def with_roles(self, root: bytes, roles: dict[str, SeenRole], now: dt.datetime) -> Seen:
        """The memory after a bundle was verified at *now*.

        Raises:
            TrustError: more services than a host can run.  Dropping one unasked would open it to
                rollback; who joins anew begins with an empty memory.
        """
        merged = {**self.roles, **roles}
        if len(merged) > _TOP_ROLES + SERVICES_PER_HOST_MAX:
            raise refused(
                Attack.ENDLESS_DATA, f"more than {SERVICES_PER_HOST_MAX} services", where="seen"
            )
        floor_s = max(self.time_floor_s, (now - _EPOCH).total_seconds())
        return Seen(root=root, roles=merged, time_floor_s=floor_s)
