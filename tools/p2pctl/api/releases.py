"""Releases: publish them, sign them, look at them."""

from __future__ import annotations

import msgspec

from p2pctl.api.calls import Calls, api_path
from p2pdeploy.ids import Digest
from p2pdeploy.messages.api import PublishBegun, ReleaseView
from p2pdeploy.messages.signing import (
    DelegationRequest,
    DelegationView,
    ProposalView,
    SignatureRequest,
)
from p2pdeploy.messages.upload import CommitRequest, PublishRequest

__all__ = ["ReleaseCalls"]

# A commit verifies every byte again: 10 GB at the 100 MB/s the API promises at least.
_COMMIT_TIMEOUT_S = 120.0


class _Egress(msgspec.Struct, frozen=True):
    dealt_bytes: int


class ReleaseCalls(Calls):
    """What the API does with releases and with who publishes them."""

    def begin_publish(
        self, service: str, version: str, manifest: bytes, chunk_index: bytes
    ) -> PublishBegun:
        """Announce a release.  Raises RefusedError ``version-exists`` for other bytes."""
        return self._wire.post(
            api_path("releases", service, version=version),
            PublishBegun,
            packed=PublishRequest(manifest=manifest, chunk_index=chunk_index),
            timeout_s=_COMMIT_TIMEOUT_S,
        )

    def commit(self, service: str, version: str, manifest_digest: Digest) -> ReleaseView:
        """Have every byte verified and the release stored.  Raises RefusedError
        ``chunks-missing`` when something has to be sent again.
        """
        return self._wire.post(
            api_path("releases", service, version=version) + "/commit",
            ReleaseView,
            packed=CommitRequest(manifest_digest=manifest_digest),
            timeout_s=_COMMIT_TIMEOUT_S,
        )

    def release(self, service: str, version: str) -> ReleaseView:
        """One release.  Raises NotFoundError."""
        return self._wire.get(api_path("releases", service, version=version), ReleaseView)

    def releases(self, service: str, *, limit: int, after: str = "") -> list[ReleaseView]:
        """A page of the releases of *service*, newest first."""
        return self._wire.get(
            api_path("releases", service), list[ReleaseView], limit=limit, after=after or None
        )

    def manifest(self, digest: Digest) -> bytes:
        """A release's manifest; unverified."""
        return self._wire.get_bytes(api_path("manifests", digest), timeout_s=_COMMIT_TIMEOUT_S)

    def propose_release(self, service: str, version: str) -> ProposalView:
        """What the publishers of a release must sign; nothing of it is verified."""
        return self._wire.post(
            api_path("releases", service, version=version) + "/proposal", ProposalView
        )

    def sign_release(self, service: str, version: str, request: SignatureRequest) -> ProposalView:
        """Hand a signature in.  Raises RefusedError ``stale-proposal``: look again, sign again."""
        return self._wire.post(
            api_path("releases", service, version=version) + "/signature",
            ProposalView,
            document=request,
        )

    def bundle(self, service: str = "") -> bytes:
        """The signed metadata of releases, with that of *service* if given; unverified."""
        return self._wire.get_bytes(api_path("bundles", *filter(None, [service])))

    def delegate(self, request: DelegationRequest) -> DelegationView:
        """Publish who publishes what, as the targets keys signed it."""
        return self._wire.post(api_path("delegations"), DelegationView, document=request)

    def dealt_bytes(self, service: str, version: str) -> int:
        """Bytes of one release that the origin has sent to hosts."""
        return self._wire.get(
            api_path("releases", service, version=version) + "/egress", _Egress
        ).dealt_bytes
