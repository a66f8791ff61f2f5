"""Routes of enrolment: four that a host without a certificate calls, the others for admins."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, Router
from litestar.params import FromPath, JSONBody, RawBody
from litestar.types import ControllerRouterHandler

from p2pdeploy.codec import decode, encode
from p2pdeploy.ids import CellId
from p2pdeploy.messages.enrolment import (
    ENROLMENT_BYTES_MAX,
    EnrolRequest,
    IssuedIdentity,
    RenewRequest,
)
from p2pdeploy.messages.enrolment_company import (
    COMPANY_ENROLMENT_BYTES_MAX,
    CompanyEnrolRequest,
)
from p2pdeploy.messages.enrolment_desk import (
    EnrolmentStatus,
    RevokeRequest,
    TokenRequest,
    TokenView,
)
from p2pdeploy.trust.identity import HostId
from p2ptracker.api.authorise import peer_in, require_member
from p2ptracker.api.failures import error_body, error_bytes
from p2ptracker.api.routes import get, post
from p2ptracker.audit.calls import note_subject
from p2ptracker.enrolment.desk import EnrolmentDesk
from p2ptracker.enrolment.gate import BusyError
from p2ptracker.enrolment.revoking import Revoker
from p2ptracker.releases.keeper import RepositoryKeeper

__all__ = ["enrolment_handlers"]

_MSGPACK = "application/msgpack"
_IMPORT_BYTES_MAX = 1024 * 1024  # a cell of 1,000 hosts of 300 bytes, three times
_PEM = "application/x-pem-file"


def enrolment_handlers(
    desk: EnrolmentDesk, revoker: Revoker, repository: RepositoryKeeper, ask_every_s: float
) -> list[ControllerRouterHandler]:
    """The routes, over *desk* and *revoker*; what hosts judge by comes from *repository*.

    *ask_every_s*: how often hosts shall ask whom to believe.
    """
    return [
        Router(
            "/",
            route_handlers=_open_handlers(desk, repository),
            exception_handlers={BusyError: _busy},
        ),
        *_admin_handlers(desk, revoker),
        _trust_handler(revoker, repository, ask_every_s),
    ]


def _open_handlers(
    desk: EnrolmentDesk, repository: RepositoryKeeper
) -> list[ControllerRouterHandler]:
    @get("/enrolment/authority", "open", media_type=_PEM)
    async def get_authority() -> bytes:
        """The fleet CA's certificate: public; a join token says which one is the right one."""
        return desk.authority_pem

    @post("/enrolment", "enrol", media_type=_MSGPACK, body_bytes_max=ENROLMENT_BYTES_MAX)
    async def enrol_host(request: Request[Any, Any, Any], body: RawBody) -> Response[bytes]:
        """Let in the host of a join token (p2pdeploy/messages/enrolment.py)."""
        asked = decode(body, EnrolRequest, bytes_max=ENROLMENT_BYTES_MAX)
        issued = await desk.enrol(asked)
        note_subject(request.scope, desk.identity_of(asked.host))
        return _issued(issued, repository)

    @post(
        "/enrolment/company",
        "enrol",
        media_type=_MSGPACK,
        body_bytes_max=COMPANY_ENROLMENT_BYTES_MAX,
    )
    async def enrol_host_by_company(
        request: Request[Any, Any, Any], body: RawBody
    ) -> Response[bytes]:
        """Let in a host that a company's CA knows (p2pdeploy/messages/enrolment_company.py)."""
        asked = decode(body, CompanyEnrolRequest, bytes_max=COMPANY_ENROLMENT_BYTES_MAX)
        host, issued = await desk.enrol_by_company(asked)
        note_subject(request.scope, desk.identity_of(host))
        return _issued(issued, repository)

    @post("/enrolment/renew", "renew", media_type=_MSGPACK, body_bytes_max=ENROLMENT_BYTES_MAX)
    async def renew_host_identity(body: RawBody) -> Response[bytes]:
        """Fresh certificates for a host that signs with its attestation key."""
        request = decode(body, RenewRequest, bytes_max=ENROLMENT_BYTES_MAX)
        return _issued(await desk.renew(request), repository)

    return [get_authority, enrol_host, enrol_host_by_company, renew_host_identity]


def _admin_handlers(desk: EnrolmentDesk, revoker: Revoker) -> list[ControllerRouterHandler]:
    @post("/enrolment/tokens", "admin", body_bytes_max=_IMPORT_BYTES_MAX)
    async def issue_join_tokens(
        request: Request[Any, Any, Any], data: JSONBody[TokenRequest]
    ) -> list[TokenView]:
        """Make join tokens; each is shown this once."""
        # The guard let nothing pass that names another host than our own address.
        api = "" if data.on_lan else f"https://{request.headers['host']}"
        return await desk.issue_tokens(data, api=api)

    @get("/enrolment", "admin")
    async def get_enrolment() -> EnrolmentStatus:
        """How every host stands, and the alarms, newest first."""
        return await desk.status()

    @post("/enrolment/revocations", "admin")
    async def revoke(data: JSONBody[RevokeRequest]) -> RevokeRequest:
        """Take back a host's identity; in force on return."""
        await revoker.revoke_host(data.host, data.reason)
        return data

    return [issue_join_tokens, get_enrolment, revoke]


def _trust_handler(
    revoker: Revoker, repository: RepositoryKeeper, ask_every_s: float
) -> ControllerRouterHandler:
    @get("/cells/{cell:str}/trust", "host", media_type=_MSGPACK)
    async def get_cell_trust(request: Request[Any, Any, Any], cell: FromPath[str]) -> bytes:
        """Revocations, keys and authorities, for a host of the cell (CellTrust)."""
        peer = peer_in(request.scope)
        assert peer is not None, "the permission demands a host"
        assert isinstance(peer.identity, HostId), "the permission demands a host"
        name = CellId(cell)
        require_member(peer.identity, revoker.hosts_of(name))
        trust = await revoker.cell_trust(name)
        version = repository.targets_version
        return encode(
            msgspec.structs.replace(trust, targets_version=version, ask_every_s=ask_every_s)
        )

    return get_cell_trust


def _issued(identity: IssuedIdentity, repository: RepositoryKeeper) -> Response[bytes]:
    """With what the host judges orders by; who joins begins at the newest root."""
    root, releases = repository.for_hosts()
    bundle = msgspec.structs.replace(identity.bundle, release_root=root)
    whole = msgspec.structs.replace(identity, bundle=bundle, releases=releases)
    return Response(encode(whole), media_type=_MSGPACK)


def _busy(_request: object, error: BusyError) -> Response[bytes]:
    return Response(
        error_bytes(error_body(error)),
        status_code=error.http_status,
        media_type="application/json",
        headers={"Retry-After": str(error.retry_after_s)},
    )
