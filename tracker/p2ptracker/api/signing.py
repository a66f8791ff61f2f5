"""Routes of signing: what publishers sign, what hosts verify, and who publishes what."""

from __future__ import annotations

from typing import Annotated

from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from p2pdeploy.ids import ServiceName, Version, check_service
from p2pdeploy.messages.signing import (
    DELEGATION_BYTES_MAX,
    DelegationRequest,
    DelegationView,
    ProposalView,
    SignatureRequest,
)
from p2pdeploy.trust.releases.proposals import Proposal
from p2ptracker.api.routes import get, post
from p2ptracker.control_plane import ControlPlane
from p2ptracker.releases.delegating import delegate

__all__ = ["bundle_handlers", "delegation_handler", "signing_handlers"]

_OCTETS = "application/octet-stream"
_Root = Annotated[int, QueryParameter(ge=0, le=2**31)]


def signing_handlers(plane: ControlPlane) -> list[ControllerRouterHandler]:
    """The routes of one release, below ``/releases``."""

    @post("/{service:str}/{version:str}/proposal", "publish")
    async def propose_release(service: FromPath[str], version: FromPath[str]) -> ProposalView:
        """Say what a release's publishers have to sign."""
        name = ServiceName(service)
        in_use = plane.orchestrator.versions_in_use(name)
        return await plane.releases.propose(name, Version(version), in_use)

    @post("/{service:str}/{version:str}/signature", "publish")
    async def sign_release(
        service: FromPath[str], version: FromPath[str], data: JSONBody[SignatureRequest]
    ) -> ProposalView:
        """Take a publisher's signature."""
        name = ServiceName(service)
        in_use = plane.orchestrator.versions_in_use(name)
        return await plane.releases.sign(name, Version(version), data, in_use)

    return [propose_release, sign_release]


def bundle_handlers(plane: ControlPlane) -> list[ControllerRouterHandler]:
    """What is verified by whoever gets it, below ``/bundles``."""

    @get("/{service:str}", "member", media_type=_OCTETS)
    async def get_bundle(service: FromPath[str], root: _Root = 0) -> bytes:
        """The signed metadata of a service's releases, for who has root number *root*."""
        return plane.releases.bundle(check_service(service), root)

    @get("/", "member", media_type=_OCTETS)
    async def get_top_bundle(root: _Root = 0) -> bytes:
        """The signed metadata without any service's."""
        return plane.releases.bundle("", root)

    return [get_bundle, get_top_bundle]


def delegation_handler(plane: ControlPlane) -> ControllerRouterHandler:
    """Who publishes what."""

    @post("/delegations", "admin", body_bytes_max=DELEGATION_BYTES_MAX)
    async def delegate_services(data: JSONBody[DelegationRequest]) -> DelegationView:
        """Take a targets document that the targets keys signed."""
        renewed = [Proposal.from_bytes(each) for each in data.renewed]
        return await delegate(plane.repository, Proposal.from_bytes(data.proposal), renewed)

    return delegate_services
