"""The control plane's HTTP API as typed calls.

Every path and parameter of the API stands in this file.  Every failure comes out as one of our
errors: what the API refused as it said it, anything else as :class:`UnavailableError`.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx2
import msgspec

from p2pdeploy.codec import encode
from p2pdeploy.errors import (
    NotFoundError,
    P2PDeployError,
    PayloadError,
    RefusedError,
    TrustError,
    UnavailableError,
)
from p2pdeploy.ids import Digest
from p2pdeploy.messages.api import (
    ErrorDocument,
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
from p2pdeploy.messages.upload import CommitRequest, PublishRequest
from p2pdeploy.trust.loopback import require_loopback

__all__ = ["ApiClient"]

T = TypeVar("T")

_TIMEOUT_S = 15.0  # the API answers from a local database; more means it is stuck
# A commit verifies every byte again: 10 GB at the 100 MB/s the API promises at least.
_COMMIT_TIMEOUT_S = 120.0

_ERROR_OF: dict[int, type[P2PDeployError]] = {
    401: TrustError,
    403: TrustError,
    404: NotFoundError,
    409: RefusedError,
    422: PayloadError,
    503: UnavailableError,
}


class _Egress(msgspec.Struct, frozen=True):
    dealt_bytes: int


class ApiClient:
    """One connection pool to one control plane.  Use it as a context manager.

    Args:
        api: ``http://ADDRESS:PORT``.
        token: The fleet's bearer token.
        folder: Named in errors, so that the user knows which fleet did not answer.
        local_address: The address outgoing connections bind; None lets the kernel choose.

    Raises:
        ConfigError: *api* is outside 127.0.0.0/8.
    """

    def __init__(
        self, api: str, token: str, *, folder: Path, local_address: str | None = None
    ) -> None:
        require_loopback(httpx2.URL(api).host, where=f"{folder}/fleet.json: api")
        self._folder = folder
        self._http = httpx2.Client(
            base_url=api,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_S,
            # No proxy and no .netrc: a fleet on loopback is talked to directly.
            trust_env=False,
            transport=httpx2.HTTPTransport(local_address=local_address, trust_env=False),
        )
        self.token = token

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    # Releases

    def begin_publish(
        self, service: str, version: str, manifest: bytes, chunk_index: bytes
    ) -> PublishBegun:
        """Announce a release.  Raises RefusedError ``version-exists`` for other bytes."""
        return self._post(
            _path("releases", service, version),
            PublishBegun,
            packed=PublishRequest(manifest=manifest, chunk_index=chunk_index),
            timeout_s=_COMMIT_TIMEOUT_S,
        )

    def commit(self, service: str, version: str, manifest_digest: Digest) -> ReleaseView:
        """Have every byte verified and the release stored.  Raises RefusedError
        ``chunks-missing`` when something has to be sent again.
        """
        return self._post(
            _path("releases", service, version, "commit"),
            ReleaseView,
            packed=CommitRequest(manifest_digest=manifest_digest),
            timeout_s=_COMMIT_TIMEOUT_S,
        )

    def release(self, service: str, version: str) -> ReleaseView:
        """One release.  Raises NotFoundError."""
        return self._get(_path("releases", service, version), ReleaseView)

    def releases(self, service: str, *, limit: int, after: str = "") -> list[ReleaseView]:
        """A page of the releases of *service*, newest first."""
        return self._get(
            _path("releases", service), list[ReleaseView], limit=limit, after=after or None
        )

    def dealt_bytes(self, service: str, version: str) -> int:
        """Bytes of one release that the origin has sent to hosts."""
        return self._get(_path("releases", service, version, "egress"), _Egress).dealt_bytes

    # Hosts and versions

    def hosts(
        self, *, filters: tuple[str, ...] = (), limit: int | None = None, after: str = ""
    ) -> list[HostView]:
        """A page of hosts by name.  *filters* are ``key=glob``; a bare glob is of the name."""
        return self._get(
            _path("hosts"),
            list[HostView],
            filter=list(filters) or None,
            limit=limit,
            after=after or None,
        )

    def versions(self, service: str) -> VersionsView:
        """How many hosts run which version of *service*."""
        return self._get(_path("fleet", service, "versions"), VersionsView)

    def where(self, service: str, version: str) -> list[WhereRow]:
        """The hosts that run *version* of *service*."""
        return self._get(_path("fleet", service, "where", version), list[WhereRow])

    def logs(self, host: str, service: str, *, lines: int) -> LogsView:
        """The last *lines* of what *service* wrote on *host*."""
        return self._get(_path("hosts", host, "services", service, "logs"), LogsView, lines=lines)

    # Rollouts

    def plan_rollout(self, request: RolloutRequest) -> RolloutPlanView:
        """What *request* would do; changes nothing."""
        return self._post(_path("rollouts", "plan"), RolloutPlanView, document=request)

    def apply_rollout(self, request: RolloutRequest) -> RolloutView:
        """Start a rollout; returns as soon as it is accepted."""
        return self._post(_path("rollouts"), RolloutView, document=request)

    def rollouts(self, *, service: str = "", limit: int | None = None) -> list[RolloutView]:
        """Rollouts, newest first."""
        return self._get(_path("rollouts"), list[RolloutView], service=service or None, limit=limit)

    def rollout(self, rollout_id: str) -> RolloutView:
        """One rollout as it stands.  Raises NotFoundError."""
        return self._get(_path("rollouts", rollout_id), RolloutView)

    def order_rollout(self, rollout_id: str, verb: str) -> RolloutView:
        """``pause``, ``resume``, ``abort`` or ``revert`` a rollout."""
        return self._post(_path("rollouts", rollout_id, verb), RolloutView)

    def excuse(self, rollout_id: str, hosts: tuple[str, ...], reason: str) -> RolloutView:
        """Let a rollout go on without *hosts*."""
        return self._post(
            _path("rollouts", rollout_id, "excuse"),
            RolloutView,
            document={"hosts": list(hosts), "reason": reason},
        )

    def why(self, rollout_id: str, host: str = "") -> list[Reason]:
        """Why a rollout, or one host of it, stands where it stands."""
        return self._get(_path("rollouts", rollout_id, "why"), list[Reason], host=host or None)

    # The wire

    def _get(self, path: str, kind: type[T], **query: Any) -> T:
        params = {key: value for key, value in query.items() if value is not None}
        return self._call("GET", path, kind, params=params)

    def _post(
        self,
        path: str,
        kind: type[T],
        *,
        document: object = None,
        packed: msgspec.Struct | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> T:
        if packed is not None:
            content, form = encode(packed), "application/msgpack"
        else:
            content, form = msgspec.json.encode(document), "application/json"
        if packed is None and document is None:
            return self._call("POST", path, kind, timeout=timeout_s)
        headers = {"Content-Type": form}
        return self._call("POST", path, kind, content=content, headers=headers, timeout=timeout_s)

    def _call(self, method: str, path: str, kind: type[T], **request: Any) -> T:
        try:
            response = self._http.request(method, path, **request)
        except httpx2.TimeoutException as error:
            raise self._unavailable("did not answer in time") from error
        except httpx2.RequestError as error:
            raise self._unavailable("does not answer") from error
        if not response.is_success:
            raise _refusal(response)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.MsgspecError as error:
            raise UnavailableError(
                f"the control plane answered something else than expected: {error}",
                where=str(response.url),
                hint="is it of the same version as this p2pctl?",
                code="bad-answer",
            ) from error

    def _unavailable(self, what: str) -> UnavailableError:
        return UnavailableError(
            f"the control plane at {self._http.base_url} {what}",
            where=str(self._folder),
            hint=f"is the fleet up? 'p2pctl up --dir {self._folder}' starts it",
            code="control-plane-down",
        )


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _refusal(response: httpx2.Response) -> P2PDeployError:
    status = response.status_code
    kind = _ERROR_OF.get(status, UnavailableError if status >= 500 else RefusedError)
    try:
        body = msgspec.json.decode(response.content, type=ErrorDocument).error
    except msgspec.MsgspecError:
        return kind(f"the control plane answered HTTP {status}", where=str(response.url))
    return kind(body.message, where=body.where, hint=body.hint, code=body.code)
