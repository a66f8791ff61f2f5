"""People who approve the rollouts of a world."""

from __future__ import annotations

import pytest

from tests.p2ptracker.approvers import Approvers
from tests.p2ptracker.rollout_bench import World


@pytest.fixture
def approvers(world: World) -> Approvers:
    """Two of three must sign."""
    return Approvers(world)
