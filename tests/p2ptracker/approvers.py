"""People who approve rollouts: their keys, and what each of them hands in."""

from __future__ import annotations

import pytest

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import RolloutId
from p2pdeploy.messages.api import RolloutView
from p2pdeploy.messages.approval import ApprovalRequest, RolloutProposal
from p2pdeploy.messages.orders import Rollout
from p2pdeploy.trust.envelope import signed_part
from p2pdeploy.trust.keyring import OrderKeys
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey
from tests.p2ptracker.rollout_bench import World

__all__ = ["Approvers", "reason", "refused", "request_by"]


class Approvers:
    """Three people; *threshold* of them must sign a ROLLOUT, by what hosts and control plane know.

    With *and_control_plane* its own key is one of the role's as well.
    """

    def __init__(
        self, world: World, threshold: int = 2, *, and_control_plane: bool = False
    ) -> None:
        self.world = world
        self.people = [SigningKey.generate(role="rollout") for _ in range(3)]
        self.own = world.plane.trust.keys["rollout"]
        keys = [*self.people, *([self.own] if and_control_plane else [])]
        self.use(keys, threshold)

    def use(self, keys: list[SigningKey], threshold: int) -> None:
        """Have everybody know *keys* as the role's."""
        orders = self.world.keys.orders
        role = RoleKeys(threshold=threshold, public_keys=tuple(key.public_key for key in keys))
        self.known = OrderKeys(orders.fleet, {**orders.roles, "rollout": role})
        self.tell()

    def tell(self) -> None:
        """Have everybody know the keys (again): a control plane was restarted."""
        self.world.plane.verifier.use(self.known)
        self.world.keys.verifier.use(self.known)

    async def proposal(self, rollout: str) -> RolloutProposal:
        return await self.world.desk.proposal(RolloutId(rollout))

    async def sign(self, rollout: str, who: int) -> RolloutView:
        """Person number *who* signs what is proposed."""
        proposal = await self.proposal(rollout)
        return await self.world.desk.sign(proposal.rollout, request_by(self.people[who], proposal))


def request_by(key: SigningKey, proposal: RolloutProposal) -> ApprovalRequest:
    """What p2pctl sends for the owner of *key*."""
    signatures = [key.sign(signed_part(Rollout, payload)) for payload in proposal.payloads]
    return ApprovalRequest(key_id=key.key_id, signatures=signatures)


async def reason(world: World, rollout: str = "hello-1") -> tuple[str, str]:
    """The state of *rollout*, and the code of the first reason for it."""
    view = await world.desk.get(RolloutId(rollout))
    return view.state, view.reasons[0].code


async def refused(world: World, code: str, rollout: str, request: ApprovalRequest) -> None:
    """*request* is refused with *code*."""
    with pytest.raises(RefusedError) as raised:
        await world.desk.sign(RolloutId(rollout), request)
    assert raised.value.code == code
