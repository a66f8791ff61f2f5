"""The control plane's HTTP API as typed calls.

Every path and parameter of the API stands in this file.  Every failure comes out as one of our
errors, see :mod:`p2pctl.wire`.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import msgspec

from p2pctl.names import is_plain_name
from p2pctl.wire import TIMEOUT_S, Wire
from p2pdeploy.ids import Digest, check_version
from p2pdeploy.messages.access import AccessRow
from p2pdeploy.messages.api import (
    HostView,
    LogsView,
    PublishBegun,
    Reason,
    ReleaseView,
    RolloutPlanView,
    RolloutRequest,
    RolloutView,
    VersionsView,
    WhereRow,
)
from p2pdeploy.messages.audit import AuditEntry
from p2pdeploy.messages.enrolment_desk import (
    EnrolmentStatus,
    RevokeRequest,
    TokenRequest,
    TokenView,
)
from p2pdeploy.messages.signing import (
    DelegationRequest,
    DelegationView,
    ProposalView,
    SignatureRequest,
)
from p2pdeploy.messages.upload import CommitRequest, PublishRequest
from p2pdeploy.trust.tls import IdentityFiles

__all__ = ["ApiClient"]

# A commit verifies every byte again: 10 GB at the 100 MB/s the API promises at least.
_COMMIT_TIMEOUT_S = 120.0


class _Egress(msgspec.Struct, frozen=True):
    dealt_bytes: int


class ApiClient:
    """The API of one control plane.  Use it as a context manager.

    Args:
        api: ``https://ADDRESS:PORT``.
        identity: What we present, and the authority we believe.
        folder: Named in errors, so that the user knows which fleet did not answer.
        local_address: The address outgoing connections bind; None lets the kernel choose.

    Raises:
        ConfigError: *api* is no such address, or the identity's files are not usable.
    """

    def __init__(
        self, api: str, identity: IdentityFiles, *, folder: Path, local_address: str | None = None
    ) -> None:
        self._wire = Wire(api, identity, folder=folder, local_address=local_address)
        self.identity = identity
        self.folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._wire.close()

    # Releases

    def begin_publish(
        self, service: str, version: str, manifest: bytes, chunk_index: bytes
    ) -> PublishBegun:
        """Announce a release.  Raises RefusedError ``version-exists`` for other bytes."""
        return self._wire.post(
            _path("releases", service, version=version),
            PublishBegun,
            packed=PublishRequest(manifest=manifest, chunk_index=chunk_index),
            timeout_s=_COMMIT_TIMEOUT_S,
        )

    def commit(self, service: str, version: str, manifest_digest: Digest) -> ReleaseView:
        """Have every byte verified and the release stored.  Raises RefusedError
        ``chunks-missing`` when something has to be sent again.
        """
        return self._wire.post(
            _path("releases", service, version=version) + "/commit",
            ReleaseView,
            packed=CommitRequest(manifest_digest=manifest_digest),
            timeout_s=_COMMIT_TIMEOUT_S,
        )

    def release(self, service: str, version: str) -> ReleaseView:
        """One release.  Raises NotFoundError."""
        return self._wire.get(_path("releases", service, version=version), ReleaseView)

    def releases(self, service: str, *, limit: int, after: str = "") -> list[ReleaseView]:
        """A page of the releases of *service*, newest first."""
        return self._wire.get(
            _path("releases", service), list[ReleaseView], limit=limit, after=after or None
        )

    def manifest(self, digest: Digest) -> bytes:
        """A release's manifest; unverified."""
        return self._wire.get_bytes(_path("manifests", digest), timeout_s=_COMMIT_TIMEOUT_S)

    def propose_release(self, service: str, version: str) -> ProposalView:
        """What the publishers of a release must sign; nothing of it is verified."""
        return self._wire.post(
            _path("releases", service, version=version) + "/proposal", ProposalView
        )

    def sign_release(self, service: str, version: str, request: SignatureRequest) -> ProposalView:
        """Hand a signature in.  Raises RefusedError ``stale-proposal``: look again, sign again."""
        return self._wire.post(
            _path("releases", service, version=version) + "/signature",
            ProposalView,
            document=request,
        )

    def bundle(self) -> bytes:
        """The signed metadata of releases, without any service's; unverified."""
        return self._wire.get_bytes(_path("bundles"))

    def delegate(self, proposal: bytes) -> DelegationView:
        """Publish who publishes what, as the targets keys signed it."""
        return self._wire.post(
            _path("delegations"), DelegationView, document=DelegationRequest(proposal=proposal)
        )

    def dealt_bytes(self, service: str, version: str) -> int:
        """Bytes of one release that the origin has sent to hosts."""
        return self._wire.get(
            _path("releases", service, version=version) + "/egress", _Egress
        ).dealt_bytes

    # Hosts and versions

    def hosts(
        self, *, filters: tuple[str, ...] = (), limit: int | None = None, after: str = ""
    ) -> list[HostView]:
        """A page of hosts by name.  *filters* are ``key=glob``; a bare glob is of the name."""
        return self._wire.get(
            _path("hosts"),
            list[HostView],
            filter=list(filters) or None,
            limit=limit,
            after=after or None,
        )

    def versions(self, service: str) -> VersionsView:
        """How many hosts run which version of *service*."""
        return self._wire.get(_path("fleet", service, "versions"), VersionsView)

    def where(self, service: str, version: str) -> list[WhereRow]:
        """The hosts that run *version* of *service*."""
        return self._wire.get(_path("fleet", service, "where", version=version), list[WhereRow])

    def logs(self, host: str, service: str, *, lines: int) -> LogsView:
        """The last *lines* of what *service* wrote on *host*."""
        return self._wire.get(
            _path("hosts", host, "services", service, "logs"), LogsView, lines=lines
        )

    # Trust

    def access_matrix(self) -> list[AccessRow]:
        """Every route with the roles that may call it."""
        return self._wire.get(_path("auth", "matrix"), list[AccessRow])

    def audit_entries(self, *, after: int, limit: int) -> list[AuditEntry]:
        """A page of the audit log behind entry number *after*, oldest first."""
        return self._wire.get(_path("audit"), list[AuditEntry], after=after, limit=limit)

    # Rollouts

    def plan_rollout(self, request: RolloutRequest) -> RolloutPlanView:
        """What *request* would do; changes nothing."""
        return self._wire.post(_path("rollouts", "plan"), RolloutPlanView, document=request)

    def apply_rollout(self, request: RolloutRequest) -> RolloutView:
        """Start a rollout; returns as soon as it is accepted."""
        return self._wire.post(_path("rollouts"), RolloutView, document=request)

    def rollouts(
        self, *, service: str = "", limit: int | None = None, timeout_s: float = TIMEOUT_S
    ) -> list[RolloutView]:
        """Rollouts, newest first."""
        return self._wire.get(
            _path("rollouts"),
            list[RolloutView],
            timeout_s=timeout_s,
            service=service or None,
            limit=limit,
        )

    def rollout(self, rollout_id: str, *, timeout_s: float = TIMEOUT_S) -> RolloutView:
        """One rollout as it stands.  Raises NotFoundError."""
        return self._wire.get(_path("rollouts", rollout_id), RolloutView, timeout_s=timeout_s)

    def order_rollout(self, rollout_id: str, verb: str) -> RolloutView:
        """``pause``, ``resume``, ``abort`` or ``revert`` a rollout."""
        return self._wire.post(_path("rollouts", rollout_id, verb), RolloutView)

    def excuse(self, rollout_id: str, hosts: tuple[str, ...], reason: str) -> RolloutView:
        """Let a rollout go on without *hosts*."""
        return self._wire.post(
            _path("rollouts", rollout_id, "excuse"),
            RolloutView,
            document={"hosts": list(hosts), "reason": reason},
        )

    def why(self, rollout_id: str, host: str = "") -> list[Reason]:
        """Why a rollout, or one host of it, stands where it stands."""
        return self._wire.get(_path("rollouts", rollout_id, "why"), list[Reason], host=host or None)

    # Enrolment

    def join_tokens(self, request: TokenRequest) -> list[TokenView]:
        """One join token for each host of *request*; older unused ones of theirs are void."""
        return self._wire.post(
            _path("enrolment", "tokens"), list[TokenView], document=msgspec.to_builtins(request)
        )

    def enrolment(self) -> EnrolmentStatus:
        """How every host stands, and the alarms."""
        return self._wire.get(_path("enrolment"), EnrolmentStatus)

    def revoke(self, request: RevokeRequest) -> None:
        """Put a host out, or refuse an operator's certificate; in force on return."""
        self._wire.post(_path("enrolment", "revocations"), RevokeRequest, document=request)


def _path(*parts: str, version: str = "") -> str:
    """``/v1/PART/...``, with *version*, which may hold a ``+``, as the last part if given."""
    for part in parts:
        assert is_plain_name(part), part  # the commands refuse it as a usage error
    path = "/v1/" + "/".join(parts)
    return f"{path}/{quote(check_version(version), safe='')}" if version else path
