"""One HTTP call to the control plane: a document, or one of our errors.

What the API refused comes out as it said it, anything else as :class:`UnavailableError`.
"""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec

from p2pctl.own_certificate import explain_refusal
from p2pdeploy.codec import UNDECODABLE, encode
from p2pdeploy.errors import (
    ConfigError,
    P2PDeployError,
    TrustError,
    UnavailableError,
)
from p2pdeploy.messages.refusal import refusal_of
from p2pdeploy.trust.addresses import require_address
from p2pdeploy.trust.tls import IdentityFiles, client_context, is_control_plane

__all__ = ["TIMEOUT_S", "Wire"]

T = TypeVar("T")

TIMEOUT_S = 15.0  # the API answers from a local database; more means it is stuck

_CONTROL_PLANE = "the control plane of this fleet"


def _require_sealed(api: str, *, where: str) -> None:
    url = httpx2.URL(api)
    if url.scheme != "https":
        raise ConfigError(f"{api!r} must look like https://ADDRESS:PORT", where=where)
    require_address(url.host, where=where)


class Wire:
    """One connection pool to one control plane; close it.

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
        _require_sealed(api, where=f"{folder}/fleet.json: api")
        self._folder, self._identity = folder, identity
        self._http = httpx2.Client(
            base_url=api,
            timeout=TIMEOUT_S,
            # No proxy and no .netrc: a fleet is talked to directly.
            trust_env=False,
            transport=httpx2.HTTPTransport(
                verify=client_context(identity, is_control_plane, who=_CONTROL_PLANE),
                local_address=local_address,
                trust_env=False,
            ),
        )

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def get(self, path: str, kind: type[T], *, timeout_s: float = TIMEOUT_S, **query: Any) -> T:
        """Read *kind* from *path*; a query that is None is left out."""
        params = {key: value for key, value in query.items() if value is not None}
        return self._call("GET", path, kind, params=params, timeout=timeout_s)

    def get_bytes(self, path: str, *, timeout_s: float = TIMEOUT_S) -> bytes:
        """Read what is no document from *path*; whoever uses it judges it."""
        return self._send("GET", path, timeout=timeout_s).content

    def post(
        self,
        path: str,
        kind: type[T],
        *,
        document: object = None,
        packed: msgspec.Struct | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> T:
        """Send a JSON document, a MessagePack one or nothing to *path*; read *kind*."""
        if packed is not None:
            content, form = encode(packed), "application/msgpack"
        else:
            content, form = msgspec.json.encode(document), "application/json"
        if packed is None and document is None:
            return self._call("POST", path, kind, timeout=timeout_s)
        headers = {"Content-Type": form}
        return self._call("POST", path, kind, content=content, headers=headers, timeout=timeout_s)

    def _call(self, method: str, path: str, kind: type[T], **request: Any) -> T:
        response = self._send(method, path, **request)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except UNDECODABLE as error:
            raise UnavailableError(
                f"the control plane answered something else than expected: {error}",
                where=str(response.url),
                hint="is it of the same version as this p2pctl?",
                code="bad-answer",
            ) from error

    def _send(self, method: str, path: str, **request: Any) -> httpx2.Response:
        try:
            response = self._http.request(method, path, **request)
        except httpx2.TimeoutException as error:
            raise self._unavailable("did not answer in time") from error
        except httpx2.ConnectError as error:
            raise self._untrusted(error) or self._unavailable("does not answer") from error
        except httpx2.RequestError as error:
            raise self._untrusted(error) or self._cut_off() from error
        if not response.is_success:
            raise refusal_of(response.status_code, response.content, where=str(response.url))
        return response

    def _untrusted(self, error: Exception) -> TrustError | None:
        """What TLS had against the other side, or it against us; None when that is not it."""
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            return None
        if isinstance(cause, ssl.SSLCertVerificationError):
            # OpenSSL says why in an attribute that an error of our own check does not have.
            why = getattr(cause, "verify_message", "") or cause.args[-1]
            return TrustError(
                f"what answers at {self._http.base_url} is not {_CONTROL_PLANE}: {why}",
                where=str(self._folder),
                hint="nothing was sent to it",
                code="not-the-control-plane",
            )
        return self._own_fault() or TrustError(
            f"the control plane at {self._http.base_url} refuses our certificate: {cause.reason}",
            where=str(self._folder),
            hint="is its clock right?",
            code="certificate-refused",
        )

    def _cut_off(self) -> P2PDeployError:
        """It ended the connection: as it doesn't like our certificate, stopped, or is too busy."""
        return self._own_fault() or UnavailableError(
            f"the control plane at {self._http.base_url} ended the connection without an answer",
            where=str(self._folder),
            hint="it may have stopped, or too many connections are open; try again",
            code="control-plane-hung-up",
        )

    def _own_fault(self) -> TrustError | None:
        now = dt.datetime.now(dt.UTC)
        return explain_refusal(self._identity, now=now)

    def _unavailable(self, what: str) -> UnavailableError:
        return UnavailableError(
            f"the control plane at {self._http.base_url} {what}",
            where=str(self._folder),
            hint=f"is the fleet up? 'p2pctl up --dir {self._folder}' starts it",
            code="control-plane-down",
        )
