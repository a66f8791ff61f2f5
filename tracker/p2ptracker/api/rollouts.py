"""Routes of rollouts.  What they mean is the orchestrator's business; this file is their shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

import msgspec
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from p2pdeploy.ids import HostName, RolloutId
from p2pdeploy.messages.api import (
    Reason,
    RolloutHost,
    RolloutPlanView,
    RolloutRequest,
    RolloutView,
)
from p2pdeploy.messages.approval import ApprovalRequest, RolloutProposal, StandingView
from p2pdeploy.messages.attestation import ReasonText
from p2pdeploy.messages.swarm import SpreadView
from p2ptracker.api.routes import get, post
from p2ptracker.rollouts.steering import Verb

__all__ = ["ExcuseRequest", "RolloutDesk", "rollout_handlers"]

ROLLOUTS_PER_PAGE_MAX = 1_000


class ExcuseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hosts that a rollout shall no longer wait for, and why."""

    hosts: tuple[HostName, ...]
    reason: ReasonText


class RolloutDesk(Protocol):
    """The orchestrator as the API sees it.  Every call raises what ``p2pdeploy.errors`` holds."""

    async def plan(self, request: RolloutRequest) -> RolloutPlanView:
        """What the rollout would do; changes nothing."""
        ...

    async def apply(self, request: RolloutRequest) -> RolloutView:
        """Accept the rollout and return at once."""
        ...

    async def proposal(self, rollout: RolloutId) -> RolloutProposal:
        """What people have to sign before it begins."""
        ...

    async def sign(self, rollout: RolloutId, request: ApprovalRequest) -> RolloutView:
        """Take the signatures of one key; begin once there are enough."""
        ...

    async def standing(self) -> Sequence[StandingView]:
        """What stands, and needs signatures of the keys that take over."""
        ...

    async def history(self, *, service: str, limit: int, after: str) -> Sequence[RolloutView]:
        """Rollouts, newest first, of one service or of all (empty)."""
        ...

    async def get(self, rollout: RolloutId) -> RolloutView:
        """One rollout as it stands."""
        ...

    async def steer(self, rollout: RolloutId, verb: Verb) -> RolloutView:
        """Pause, resume, retry, abort or revert it."""
        ...

    async def excuse(
        self, rollout: RolloutId, hosts: tuple[HostName, ...], reason: str
    ) -> RolloutView:
        """Go on without these hosts."""
        ...

    async def why(self, rollout: RolloutId, host: str) -> Sequence[Reason]:
        """Why the rollout, or one host of it (unless empty), stands where it stands."""
        ...

    async def spread(self, rollout: RolloutId) -> SpreadView:
        """How its release spread, with the curve."""
        ...

    async def hosts(self, rollout: RolloutId) -> Sequence[RolloutHost]:
        """How far each host is with the rollout."""
        ...


def rollout_handlers(desk: RolloutDesk) -> list[ControllerRouterHandler]:
    """The routes, over *desk*."""

    @post("/plan", "rollout")
    async def plan_rollout(data: JSONBody[RolloutRequest]) -> RolloutPlanView:
        """Show what a rollout would do, with every limit in force."""
        return await desk.plan(data)

    @post("/", "rollout")
    async def apply_rollout(data: JSONBody[RolloutRequest]) -> RolloutView:
        """Start a rollout; answers as soon as it is accepted."""
        return await desk.apply(data)

    @get("/", "view")
    async def get_rollouts(
        service: Annotated[str, QueryParameter(max_length=63)] = "",
        limit: Annotated[int, QueryParameter(ge=1, le=ROLLOUTS_PER_PAGE_MAX)] = 20,
        after: Annotated[str, QueryParameter(max_length=64)] = "",
    ) -> list[RolloutView]:
        """List rollouts, newest first."""
        return list(await desk.history(service=service, limit=limit, after=after))

    @get("/{rollout:str}", "view")
    async def get_rollout(rollout: FromPath[str]) -> RolloutView:
        """Show one rollout as it stands."""
        return await desk.get(RolloutId(rollout))

    routes = [plan_rollout, apply_rollout, get_rollouts, get_rollout]
    return [*routes, *_approving(desk), *_steering(desk)]


def _approving(desk: RolloutDesk) -> list[ControllerRouterHandler]:
    @get("/{rollout:str}/proposal", "rollout")
    async def get_proposal(rollout: FromPath[str]) -> RolloutProposal:
        """Show what the approvers of a rollout have to sign."""
        return await desk.proposal(RolloutId(rollout))

    @post("/{rollout:str}/signatures", "rollout")
    async def sign_rollout(rollout: FromPath[str], data: JSONBody[ApprovalRequest]) -> RolloutView:
        """Take an approver's signatures; the rollout begins once there are enough."""
        return await desk.sign(RolloutId(rollout), data)

    @get("/standing", "rollout")
    async def get_standing() -> list[StandingView]:
        """List rollouts that stand, and that the keys which take over have yet to sign."""
        return list(await desk.standing())

    return [get_proposal, sign_rollout, get_standing]


def _steering(desk: RolloutDesk) -> list[ControllerRouterHandler]:
    @post("/{rollout:str}/{verb:str}", "rollout")
    async def steer_rollout(rollout: FromPath[str], verb: FromPath[Verb]) -> RolloutView:
        """Pause, resume, retry, abort or revert a rollout."""
        return await desk.steer(RolloutId(rollout), verb)

    @post("/{rollout:str}/excuse", "rollout")
    async def excuse_hosts(rollout: FromPath[str], data: JSONBody[ExcuseRequest]) -> RolloutView:
        """Let a rollout go on without some hosts."""
        return await desk.excuse(RolloutId(rollout), data.hosts, data.reason)

    @get("/{rollout:str}/why", "view")
    async def explain_rollout(
        rollout: FromPath[str], host: Annotated[str, QueryParameter(max_length=63)] = ""
    ) -> list[Reason]:
        """Say why a rollout, or one host of it, stands where it stands."""
        return list(await desk.why(RolloutId(rollout), host))

    @get("/{rollout:str}/hosts", "view")
    async def get_rollout_hosts(rollout: FromPath[str]) -> list[RolloutHost]:
        """List the hosts of a rollout and how far each is with it."""
        return list(await desk.hosts(RolloutId(rollout)))

    @get("/{rollout:str}/spread", "view")
    async def get_rollout_spread(rollout: FromPath[str]) -> SpreadView:
        """Show how the release of a rollout spread over time, against the limit."""
        return await desk.spread(RolloutId(rollout))

    return [steer_rollout, excuse_hosts, explain_rollout, get_rollout_hosts, get_rollout_spread]
