"""Rollouts: plan, start, steer and follow them."""

from __future__ import annotations

from p2pctl.api.calls import Calls, api_path
from p2pctl.wire import TIMEOUT_S
from p2pdeploy.messages.api import (
    Reason,
    RolloutHost,
    RolloutPlanView,
    RolloutRequest,
    RolloutView,
)
from p2pdeploy.messages.approval import ApprovalRequest, RolloutProposal, StandingView
from p2pdeploy.messages.swarm import SpreadView

__all__ = ["RolloutCalls"]


class RolloutCalls(Calls):
    """What the API does with rollouts."""

    def plan_rollout(self, request: RolloutRequest) -> RolloutPlanView:
        """What *request* would do; changes nothing."""
        return self._wire.post(api_path("rollouts", "plan"), RolloutPlanView, document=request)

    def apply_rollout(self, request: RolloutRequest) -> RolloutView:
        """Start a rollout; returns as soon as it is accepted."""
        return self._wire.post(api_path("rollouts"), RolloutView, document=request)

    def rollout_proposal(self, rollout_id: str) -> RolloutProposal:
        """What a rollout's approvers have to sign; nothing of it is verified."""
        return self._wire.get(api_path("rollouts", rollout_id, "proposal"), RolloutProposal)

    def standing_rollouts(self) -> list[StandingView]:
        """What stands and has too few signatures of the keys that take over; often nothing."""
        return self._wire.get(api_path("rollouts", "standing"), list[StandingView])

    def sign_rollout(self, rollout_id: str, request: ApprovalRequest) -> RolloutView:
        """Hand an approver's signatures in; the rollout begins once there are enough."""
        return self._wire.post(
            api_path("rollouts", rollout_id, "signatures"), RolloutView, document=request
        )

    def rollouts(
        self, *, service: str = "", limit: int | None = None, timeout_s: float = TIMEOUT_S
    ) -> list[RolloutView]:
        """Rollouts, newest first."""
        return self._wire.get(
            api_path("rollouts"),
            list[RolloutView],
            timeout_s=timeout_s,
            service=service or None,
            limit=limit,
        )

    def rollout(self, rollout_id: str, *, timeout_s: float = TIMEOUT_S) -> RolloutView:
        """One rollout as it stands.  Raises NotFoundError."""
        return self._wire.get(api_path("rollouts", rollout_id), RolloutView, timeout_s=timeout_s)

    def rollout_hosts(self, rollout_id: str) -> list[RolloutHost]:
        """The hosts of a rollout and how far each is with it."""
        return self._wire.get(api_path("rollouts", rollout_id, "hosts"), list[RolloutHost])

    def rollout_spread(self, rollout_id: str) -> SpreadView:
        """How the release of a rollout spread over time, against the limit."""
        return self._wire.get(api_path("rollouts", rollout_id, "spread"), SpreadView)

    def order_rollout(self, rollout_id: str, verb: str) -> RolloutView:
        """``pause``, ``resume``, ``retry``, ``abort`` or ``revert`` a rollout."""
        return self._wire.post(api_path("rollouts", rollout_id, verb), RolloutView)

    def excuse(self, rollout_id: str, hosts: tuple[str, ...], reason: str) -> RolloutView:
        """Let a rollout go on without *hosts*."""
        return self._wire.post(
            api_path("rollouts", rollout_id, "excuse"),
            RolloutView,
            document={"hosts": list(hosts), "reason": reason},
        )

    def why(self, rollout_id: str, host: str = "") -> list[Reason]:
        """Why a rollout, or one host of it, stands where it stands."""
        return self._wire.get(
            api_path("rollouts", rollout_id, "why"), list[Reason], host=host or None
        )
