"""What control planes say to those who approve rollouts; nothing is connected to."""

from __future__ import annotations

import datetime as dt

from p2pctl.client import ApiClient
from p2pdeploy.ids import RolloutId, ServiceName, Version
from p2pdeploy.messages.api import RolloutState, RolloutView
from tests.p2ptracker.rollout_bench import World

__all__ = ["Served", "a_view"]


class Served(ApiClient):
    """What a real control plane says of its releases."""

    def __init__(self, world: World) -> None:
        self.world, self.folder = world, world.folder

    def bundle(self, service: str = "") -> bytes:
        return self.world.plane.releases.bundle(service, 0)


def a_view(rollout_id: str, state: RolloutState, now: dt.datetime) -> RolloutView:
    """A rollout of web 1, which began *now*, and if need be ended then."""
    return RolloutView(
        id=RolloutId(rollout_id),
        service=ServiceName("web"),
        version=Version("1"),
        baseline="",
        state=state,
        created_at=now,
        finished_at=None if state == "unsigned" else now,
        fault_domains=[],
        reasons=[],
    )
