"""A rotation of the keys that sign orders in one role: what it says, and when it goes on.  Pure.

1. *announced*: the signed targets document names the old and the new keys.
2. *sealing*, once every host can know it: the new key signs, and what stands is sealed anew.
3. Done, once nobody needs the old key: the document names the new ones alone.

To and from people's keys the first two steps are one: the control plane can't sign for people,
and a host that has not learnt new keys takes what they signed as soon as it has.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from p2pdeploy.trust.cell_keys import KEYS_ASKED_EVERY_S, ROTATION_STEP_WAIT_S
from p2pdeploy.trust.certificates import HOST_LIFETIME
from p2pdeploy.trust.keyring import NEXT
from p2pdeploy.trust.role_keys import OrderRoles, RoleKeys

__all__ = [
    "CREDENTIALS_WAIT_S",
    "Rotation",
    "Step",
    "Waits",
    "announced_keys",
    "begin_rotation",
    "due_at",
    "finished_keys",
    "seal_from",
]

# A host renews at 60 % of a certificate's life at the latest; one that did not within all of it
# renews before anything else when it comes back, and gets a new credential then.
CREDENTIALS_WAIT_S = HOST_LIFETIME.total_seconds() + ROTATION_STEP_WAIT_S

Step = Literal["announced", "sealing"]


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a step takes.

    ``step_s``: until every host that is not cut off knows other keys; each asks once a minute and
    may fail twice.  ``credentials_s``: until every host has a credential by the new key.
    """

    step_s: float = ROTATION_STEP_WAIT_S
    credentials_s: float = CREDENTIALS_WAIT_S

    @property
    def ask_every_s(self) -> float:
        """How often hosts have to ask: one time may be lost, one fall into our restart."""
        return min(KEYS_ASKED_EVERY_S, self.step_s / 3)


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """One rotation; times in seconds since the epoch.

    ``public_keys`` and ``threshold`` are who signs in the end; ``is_ours``: the control plane holds
    that key.  ``since``: when *step* was made.
    """

    role: str
    public_keys: tuple[bytes, ...]
    threshold: int
    is_ours: bool
    step: Step
    since: float

    @property
    def keys(self) -> RoleKeys:
        """Who signs in the end."""
        return RoleKeys(threshold=self.threshold, public_keys=self.public_keys)


def begin_rotation(
    role: str, keys: RoleKeys, *, current: OrderRoles, is_ours: bool, now: float
) -> Rotation:
    """The first step, from the *current* keys to *keys*, which are *is_ours* or people's."""
    waits = is_ours and _is_single(current[role])
    return Rotation(
        role=role,
        public_keys=keys.public_keys,
        threshold=keys.threshold,
        is_ours=is_ours,
        step="announced" if waits else "sealing",
        since=now,
    )


def seal_from(rotation: Rotation, now: float) -> Rotation:
    """The second step."""
    assert rotation.step == "announced", "the first step was made before"
    return msgspec.structs.replace(rotation, step="sealing", since=now)


def due_at(rotation: Rotation, waits: Waits) -> float:
    """When the next step may be made, in seconds since the epoch."""
    if rotation.step == "sealing" and rotation.role == "enrol":
        return rotation.since + waits.credentials_s
    return rotation.since + waits.step_s


def _is_single(keys: RoleKeys) -> bool:
    """Whether one of *keys* is enough: one more key then changes nothing for the others."""
    return keys.threshold == 1


def announced_keys(current: OrderRoles, rotation: Rotation) -> OrderRoles:
    """What the targets document says from the first step on.

    Two single keys become two keys, of which one is enough.  With other thresholds that would be
    too weak or too strict for one of the two, so the new ones stand beside as ``ROLE-next``.
    """
    role, new, old = rotation.role, rotation.keys, current[rotation.role]
    if rotation.is_ours and _is_single(old):
        both = RoleKeys(threshold=1, public_keys=(*old.public_keys, *new.public_keys))
        return {**current, role: both}
    return {**current, role + NEXT: new}


def finished_keys(current: OrderRoles, rotation: Rotation) -> OrderRoles:
    """What it says in the end."""
    others = {role: keys for role, keys in current.items() if role != rotation.role + NEXT}
    return {**others, rotation.role: rotation.keys}
