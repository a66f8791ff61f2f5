"""What one host needs for one service: five documents and the roots it has not seen.

A bundle is no more trusted than its carrier; each document in it is.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import ProtocolError
from p2pdeploy.trust.releases.limits import (
    BUNDLE_BYTES_MAX,
    ROOT_BYTES_MAX,
    ROOTS_PER_BUNDLE_MAX,
    SERVICE_BYTES_MAX,
    SNAPSHOT_BYTES_MAX,
    TARGETS_BYTES_MAX,
    TIMESTAMP_BYTES_MAX,
)
from p2pdeploy.trust.releases.refusals import Attack, refused

__all__ = ["ReleaseBundle"]


class ReleaseBundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Documents as they were signed.  ``service`` is empty when only order keys are asked for."""

    roots: tuple[bytes, ...]
    timestamp: bytes
    snapshot: bytes
    targets: bytes
    service: bytes = b""

    def to_bytes(self) -> bytes:
        """As it travels and as it is kept."""
        return encode(self)

    @staticmethod
    def from_bytes(data: bytes) -> ReleaseBundle:
        """Cut a bundle into its parts.

        Raises:
            TrustError: a part or the whole is larger than anybody would sign
                (``release-endless-data``), or this is no bundle (``release-malformed``).
        """
        _check_size("bundle", data, BUNDLE_BYTES_MAX)
        try:
            bundle = decode(data, ReleaseBundle, bytes_max=BUNDLE_BYTES_MAX)
        except ProtocolError as error:
            raise refused(Attack.MALFORMED, error.message, where="bundle") from error
        bundle.check_sizes()
        return bundle

    def check_sizes(self) -> None:
        """Raise TrustError (``release-endless-data``) if a part is too large."""
        if len(self.roots) > ROOTS_PER_BUNDLE_MAX:
            raise refused(Attack.ENDLESS_DATA, f"{len(self.roots)} roots", where="root")
        for root in self.roots:
            _check_size("root", root, ROOT_BYTES_MAX)
        _check_size("timestamp", self.timestamp, TIMESTAMP_BYTES_MAX)
        _check_size("snapshot", self.snapshot, SNAPSHOT_BYTES_MAX)
        _check_size("targets", self.targets, TARGETS_BYTES_MAX)
        _check_size("service", self.service, SERVICE_BYTES_MAX)


def _check_size(where: str, data: bytes, bytes_max: int) -> None:
    if len(data) > bytes_max:
        raise refused(
            Attack.ENDLESS_DATA, f"{len(data)} bytes, at most {bytes_max} are read", where=where
        )
