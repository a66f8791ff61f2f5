"""Builds that come onto this disk ahead of a rollout.

They are staged and kept like others, while the order that governs fetches nothing itself.  Nothing
here makes an order govern, or a build start: an order that asks for one has it staged once more,
which moves no bytes and judges its release by the metadata of that day.
"""

from __future__ import annotations

import math

from p2pdeploy.activation.effects import Effect, Stage
from p2pdeploy.activation.events import Now
from p2pdeploy.activation.service import Slot
from p2pdeploy.activation.transitions import keep
from p2pdeploy.limits import PREFETCH_KEEP_MAX_S
from p2pdeploy.messages.orders import Prefetch, Prefetched

__all__ = ["look_ahead", "stage_ahead"]

LOOK_EVERY_S = 1.0  # at least: the wall clock may stand still, or go back


def look_ahead(slot: Slot, now: Now) -> list[Effect]:
    """Learn what is to be kept ahead now; what expired or was cancelled may be collected."""
    if now.boot_s < slot.ahead_until_boot_s:
        return []
    asked = _asked(slot, now)
    ends_in_s = min((each.not_after - now.wall_s for each in asked), default=math.inf)
    slot.ahead_until_boot_s = now.boot_s + max(ends_in_s, LOOK_EVERY_S)
    before, slot.ahead = slot.ahead, tuple(each.build for each in asked)
    return [] if slot.ahead == before else [keep(slot)]


def stage_ahead(slot: Slot) -> list[Effect]:
    """Fetch the next build, unless another of this service is being fetched."""
    if slot.staging is not None:
        return []
    lacking = (build for build in slot.ahead if not slot.has_ahead(build))
    build = next(lacking, None)
    if build is None:
        return []
    slot.staging, slot.staging_problem = build.digest, None
    return [keep(slot), Stage(slot.record.service, build)]


def _asked(slot: Slot, now: Now) -> list[Prefetched]:
    """What the newest PREFETCH asks of this host, and is allowed to at this time."""
    prefetch = slot.prefetch
    if prefetch is None:
        return []
    return [each for each in prefetch.builds if _concerns(each, prefetch, slot, now)]


def _concerns(each: Prefetched, prefetch: Prefetch, slot: Slot, now: Now) -> bool:
    is_mine = not each.hosts or slot.me in each.hosts
    is_bounded = each.not_after <= prefetch.issued_at + PREFETCH_KEEP_MAX_S
    return is_mine and is_bounded and now.wall_s < each.not_after
