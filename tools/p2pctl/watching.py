"""Follow a rollout until it is final.

Polling: the API answers from memory of the last sync, and a follower that was cut off just asks
again.  A control plane that is being restarted does not end a watch before ``_PATIENCE_S``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from p2pctl.client import ApiClient
from p2pctl.polling import left_s, poll
from p2pctl.wire import TIMEOUT_S
from p2pdeploy.errors import NotFoundError, UnavailableError
from p2pdeploy.messages.api import FINAL_STATES, RolloutView

__all__ = ["LATEST", "find_rollout", "follow", "is_final"]

LATEST = "latest"
_FIRST_LOOK_S = 1.0  # every --timeout, 0s too, has a look that a busy machine can answer
_LAST_LOOK_S = 0.2  # for the look at the deadline itself; a healthy API needs a hundredth
_PATIENCE_S = 30.0  # a control plane killed and started again is back within a few seconds


def is_final(rollout: RolloutView) -> bool:
    """True when nothing will happen any more."""
    return rollout.state in FINAL_STATES


def find_rollout(api: ApiClient, name: str, *, timeout_s: float = TIMEOUT_S) -> RolloutView:
    """The rollout with id *name*, or the newest for ``latest``, whole.

    Waits *timeout_s* for the answer, but never less than a busy machine needs.

    Raises:
        NotFoundError: there is none.
    """
    patience_s = min(max(timeout_s, _FIRST_LOOK_S), TIMEOUT_S)
    if name != LATEST:
        return api.rollout(name, timeout_s=patience_s)
    seen = api.rollouts(timeout_s=patience_s)
    newest = max(seen, key=lambda rollout: rollout.created_at, default=None)
    if newest is None:
        raise NotFoundError("there is no rollout yet", hint="see 'p2pctl rollout apply --help'")
    return api.rollout(newest.id, timeout_s=patience_s)  # whole: a list has no figures of its swarm


def follow(
    api: ApiClient, rollout_id: str, *, timeout_s: float | None = None
) -> Iterator[RolloutView]:
    """Yield the rollout at every look until it is final or *timeout_s* is over.

    Raises:
        NotFoundError: no such rollout.
        UnavailableError: the control plane was away for 30 s, or when the time was over.
    """
    answered = time.monotonic()
    deadline = answered + timeout_s if timeout_s is not None else math.inf
    for _ in poll(timeout_s):
        try:
            patience_s = min(TIMEOUT_S, max(_LAST_LOOK_S, left_s(deadline)))
            rollout = api.rollout(rollout_id, timeout_s=patience_s)
        except UnavailableError:
            if time.monotonic() - answered > _PATIENCE_S or left_s(deadline) <= 0:
                raise
            continue
        answered = time.monotonic()
        yield rollout
        if is_final(rollout):
            return
