"""What is signed about one release: the digest of its manifest, which covers every file.

As TUF has it, a target has a length and a SHA-256: those of the manifest's bytes.  The identity
of the release is the BLAKE3 digest of the same bytes.  A host checks all three.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import cast

import msgspec

from p2pdeploy.errors import IntegrityError, P2PDeployError
from p2pdeploy.ids import (
    Digest,
    ServiceName,
    Version,
    check_digest,
    check_service,
    check_version,
)
from p2pdeploy.limits import MANIFEST_BYTES_MAX
from p2pdeploy.manifest import digest_of
from p2pdeploy.trust.releases.library import TargetFile, Targets
from p2pdeploy.trust.releases.limits import RELEASES_LIVE_MAX
from p2pdeploy.trust.releases.refusals import Attack, refused

__all__ = ["LiveRelease", "ReleaseTarget", "check_manifest", "live_releases", "release_in"]

_HASH = "sha256"


class ReleaseTarget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One release.  ``size_bytes`` is the payload's, ``manifest_bytes`` the manifest's."""

    service: ServiceName
    version: Version
    manifest_digest: Digest
    manifest_sha256: str
    manifest_bytes: int
    size_bytes: int

    @classmethod
    def of_manifest(
        cls, service: str, version: str, manifest: bytes, *, size_bytes: int
    ) -> ReleaseTarget:
        """Describe the release whose manifest has these bytes.

        Raises:
            RefusedError: *service* or *version* breaks the spelling rules.
        """
        return cls(
            service=check_service(service),
            version=check_version(version),
            manifest_digest=digest_of(manifest),
            manifest_sha256=hashlib.sha256(manifest).hexdigest(),
            manifest_bytes=len(manifest),
            size_bytes=size_bytes,
        )

    @property
    def path(self) -> str:
        """Its name among TUF's targets."""
        return f"{self.service}/{self.version}"


class LiveRelease(msgspec.Struct, frozen=True, kw_only=True):
    """A release in its service's document; *serial* is the document's version that brought it."""

    release: ReleaseTarget
    serial: int

    def to_target(self) -> TargetFile:
        """As it stands in the document."""
        release = self.release
        custom = {
            "manifest_digest": release.manifest_digest,
            "serial": self.serial,
            "size_bytes": release.size_bytes,
        }
        hashes = {_HASH: release.manifest_sha256}
        return TargetFile(release.manifest_bytes, hashes, release.path, {"custom": custom})


class _Custom(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    manifest_digest: str
    serial: int
    size_bytes: int


def check_manifest(release: ReleaseTarget, manifest: bytes) -> None:
    """Compare a manifest that came from anywhere with what was signed.

    Raises:
        IntegrityError: its length or one of its digests differs; fetch it from somebody else.
    """
    if len(manifest) != release.manifest_bytes:
        raise IntegrityError(
            f"manifest has {len(manifest)} bytes, {release.manifest_bytes} were signed",
            where=release.path,
        )
    sha256 = hashlib.sha256(manifest).hexdigest()
    if sha256 != release.manifest_sha256 or digest_of(manifest) != release.manifest_digest:
        raise IntegrityError("manifest is not the signed one", where=release.path)


def release_in(document: Targets, service: str, version: str) -> LiveRelease:
    """Read one release of a service's document.

    Raises:
        TrustError: it is not in there (``release-unknown``), or what is said is out of form.
    """
    path = f"{service}/{version}"
    target = document.targets.get(path)
    if target is None:
        raise refused(Attack.UNKNOWN_RELEASE, "no publisher signed this release", where=path)
    return _read(path, target)


def live_releases(document: Targets, service: str) -> dict[str, LiveRelease]:
    """Every release of a service's document, by version.

    Raises:
        TrustError: an entry of another service, too many entries, or one out of form.
    """
    if len(document.targets) > RELEASES_LIVE_MAX:
        raise refused(
            Attack.ENDLESS_DATA, f"more than {RELEASES_LIVE_MAX} live releases", where=service
        )
    releases = [_read(path, target) for path, target in document.targets.items()]
    for live in releases:
        if live.release.service != service:
            raise refused(Attack.MALFORMED, f"names {live.release.path}", where=service)
    return {str(live.release.version): live for live in releases}


def _read(path: str, target: TargetFile) -> LiveRelease:
    service, _, version = path.partition("/")
    unrecognized = cast(Mapping[str, object], target.unrecognized_fields)
    try:
        custom = msgspec.convert(unrecognized.get("custom"), _Custom)
        release = ReleaseTarget(
            service=check_service(service),
            version=check_version(version),
            manifest_digest=check_digest(custom.manifest_digest),
            manifest_sha256=check_digest(target.hashes[_HASH]),
            manifest_bytes=target.length,
            size_bytes=custom.size_bytes,
        )
    except (msgspec.ValidationError, P2PDeployError, KeyError) as error:
        raise refused(Attack.MALFORMED, f"no release: {error}", where=path) from error
    if not 0 < target.length <= MANIFEST_BYTES_MAX or custom.size_bytes < 0 or custom.serial < 1:
        raise refused(Attack.ENDLESS_DATA, "sizes that no release has", where=path)
    return LiveRelease(release=release, serial=custom.serial)
