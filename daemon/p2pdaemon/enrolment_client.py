"""The calls that a host makes without a certificate: the authority, enrolling, renewing.

Every call is bounded in time and bytes.  The control plane proves who it is, except when it is
asked for its authority: that answer is compared with a fingerprint by the caller.
"""

from __future__ import annotations

import hmac
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import msgspec
import trio

from p2pdaemon.answers import read_body
from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import P2PDeployError, RefusedError, TrustError, UnavailableError
from p2pdeploy.messages.enrolment import EnrolRequest, IssuedIdentity, RenewRequest
from p2pdeploy.messages.enrolment_company import CompanyEnrolRequest
from p2pdeploy.messages.refusal import refusal_of
from p2pdeploy.trust.bundle import BUNDLE_BYTES_MAX
from p2pdeploy.trust.certificates import fingerprint
from p2pdeploy.trust.releases.limits import BUNDLE_BYTES_MAX as RELEASES_BYTES_MAX
from p2pdeploy.trust.tls import demand_identity, is_control_plane

__all__ = ["EnrolmentClient", "find_authority", "open_enrolment"]

CALL_TIMEOUT_S = 20.0  # a control plane whose fleet comes back all at once needs some
# Both bundles, two certificates, a credential.
ANSWER_BYTES_MAX = BUNDLE_BYTES_MAX + RELEASES_BYTES_MAX + 32 * 1024
TRIES_MAX = 10  # each told when to come back, at most half a minute later
RETRY_S_MAX = 60.0
_WHO = "the control plane"


class EnrolmentClient:
    """Calls one control plane.  Made by :func:`open_enrolment`."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def enrol(self, request: EnrolRequest) -> IssuedIdentity:
        """Use a join token up.

        Raises:
            TrustError: it is refused, or somebody else answers; get a new token.
            UnavailableError: no answer, or too busy for long; the token may be used up.
        """
        return await self._post("/v1/enrolment", request)

    async def enrol_by_company(self, request: CompanyEnrolRequest) -> IssuedIdentity:
        """Join by a certificate of the company's CA.

        Raises:
            TrustError: it is refused, or somebody else answers.
            RefusedError: the fleet takes tokens only.
            UnavailableError: no answer, or too busy for long; what an operator opened for this
                host may be used up.
        """
        return await self._post("/v1/enrolment/company", request)

    async def renew(self, request: RenewRequest) -> IssuedIdentity:
        """Get fresh certificates.

        Raises:
            TrustError: revoked, enrolled anew since, or somebody else answers.
            UnavailableError: not now; try again later.
        """
        return await self._post("/v1/enrolment/renew", request)

    async def _post(self, path: str, request: msgspec.Struct) -> IssuedIdentity:
        for _ in range(TRIES_MAX):
            answer = await _call(self._http, "POST", path, encode(request))
            if answer.is_success:
                return decode(answer.content, IssuedIdentity, bytes_max=ANSWER_BYTES_MAX)
            if "Retry-After" not in answer.headers:
                raise _refusal(answer)
            await trio.sleep(_seconds(answer.headers["Retry-After"]))
        raise UnavailableError(f"{_WHO} had no time for us, {TRIES_MAX} times", code="issuing-busy")


@asynccontextmanager
async def open_enrolment(
    api: str, authority_pem: bytes, *, address: str
) -> AsyncGenerator[EnrolmentClient]:
    """A client of the control plane at *api*, which must prove itself under *authority_pem*.

    Args:
        api: ``https://ADDRESS:PORT``.
        authority_pem: The fleet CA's certificate.
        address: What our sockets bind.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority_pem.decode("ascii", errors="replace"))
    demand_identity(context, is_control_plane, _WHO)
    async with _open_http(api, context, address) as http:
        yield EnrolmentClient(http)


async def find_authority(api: str, pinned: str, *, address: str) -> bytes:
    """The fleet CA in PEM whose fingerprint is *pinned*, from whoever answers at *api*.

    Raises:
        TrustError: who answers has another one.
        UnavailableError: nobody answers.
        RefusedError: whoever answers is no control plane.
    """
    pem = await _fetch_authority(api, address=address)
    try:
        found = fingerprint(pem)
    except ValueError:
        found = ""
    if not hmac.compare_digest(found, pinned):
        raise TrustError(
            "whoever answers there has another authority than was said",
            where=api,
            hint="is the address right, and is the token or the fingerprint of this fleet?",
            code="wrong-authority",
        )
    return pem


async def _fetch_authority(api: str, *, address: str) -> bytes:
    """What the host at *api* says its fleet CA is, in PEM.  Believe it by its fingerprint alone.

    Raises:
        UnavailableError: nobody answers.
        RefusedError: whoever answers is no control plane.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent, and the caller knows the fingerprint
    async with _open_http(api, context, address) as http:
        answer = await _call(http, "GET", "/v1/enrolment/authority")
    if not answer.is_success:
        raise _refusal(answer)
    return answer.content


def _open_http(api: str, context: ssl.SSLContext, address: str) -> httpx2.AsyncClient:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    transport = httpx2.AsyncHTTPTransport(local_address=address, verify=context, trust_env=False)
    return httpx2.AsyncClient(
        base_url=api,
        transport=transport,
        timeout=httpx2.Timeout(None),  # trio bounds every call as a whole
        trust_env=False,  # no proxy of the environment sees the token
        follow_redirects=False,
    )


async def _call(
    http: httpx2.AsyncClient, method: str, path: str, body: bytes | None = None
) -> httpx2.Response:
    """One request and its whole, bounded answer."""
    headers = {"Content-Type": "application/msgpack"} if body is not None else None
    request = http.build_request(method, path, content=body, headers=headers)
    try:
        with trio.fail_after(CALL_TIMEOUT_S):
            answer = await http.send(request, stream=True)
            try:
                await read_body(answer, ANSWER_BYTES_MAX)
            finally:
                await answer.aclose()
            return answer
    except trio.TooSlowError as error:
        raise UnavailableError(
            f"no answer within {CALL_TIMEOUT_S:g} s", where=str(request.url)
        ) from error
    except httpx2.HTTPError as error:
        raise _unreachable(error, str(request.url)) from error


def _refusal(answer: httpx2.Response) -> P2PDeployError:
    return refusal_of(
        answer.status_code, answer.content, where=str(answer.url), unclear=RefusedError
    )


def _unreachable(error: httpx2.HTTPError, url: str) -> P2PDeployError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return TrustError(
                f"this is not {_WHO} of our fleet: {cause.verify_message or cause}",
                where=url,
                hint="is the address right, and this host's clock?",
                code="not-control-plane",
            )
        cause = cause.__cause__ or cause.__context__
    return UnavailableError(f"{_WHO} does not answer: {error or type(error).__name__}", where=url)


def _seconds(text: str) -> float:
    return min(float(text), RETRY_S_MAX) if text.isdecimal() else RETRY_S_MAX
