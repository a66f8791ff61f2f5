"""People who approve rollouts, as in tests/p2ptracker/rollouts."""

from tests.p2ptracker.rollouts.conftest import approvers

__all__ = ["approvers"]
