"""How every key stands: who signs by it, where it is, and until when."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from p2pdeploy.ids import RolloutId
from p2pdeploy.messages.keys import KeyView
from p2pdeploy.trust.key_files import KEY_ROLES, KeyStatus, key_statuses
from p2pdeploy.trust.releases.documents import keys_of_role
from p2pdeploy.trust.releases.keys import service_role
from p2pdeploy.trust.releases.proposals import services_of
from p2pdeploy.trust.releases.reading import expiries, order_keys_of, service_expiries
from p2pdeploy.trust.releases.repository import Repository
from p2pdeploy.trust.role_keys import RoleKeys
from p2ptracker.keys.answers import moment
from p2ptracker.keys.rotation import due_at
from p2ptracker.keys.rotator import KeyRotator

__all__ = ["key_views"]


def key_views(
    folder: Path,
    repository: Repository,
    rotator: KeyRotator,
    unsigned_rollouts: tuple[RolloutId, ...],
) -> list[KeyView]:
    """Every role, as hosts know it and as the fleet's *folder* has it.  Blocking.

    Args:
        folder: The fleet's.
        repository: What is published.
        rotator: What is under way.
        unsigned_rollouts: What those have to sign who take over ROLLOUTs.

    Raises:
        ConfigError: a file is damaged, or others can read it.
    """
    orders, ends = order_keys_of(repository.targets), expiries(repository)
    files = {status.role: status for status in key_statuses(folder)}
    roles = [
        _view(
            files[role.name],
            orders.get(role.name) or keys_of_role(repository.root, role.name),
            ends.get(role.name),
            rotator,
            unsigned_rollouts if role.name == "rollout" else (),
        )
        for role in KEY_ROLES
    ]
    return roles + _service_views(repository)


def _service_views(repository: Repository) -> list[KeyView]:
    ends = service_expiries(repository)
    return [
        KeyView(
            role=service_role(service),
            key_ids=keys.key_ids("publisher"),
            threshold=keys.threshold,
            place="elsewhere",
            belongs="publisher",
            stolen=_stolen(f"sign releases of {service}", keys.threshold),
            expires_at=ends.get(service),
        )
        for service, keys in sorted(services_of(repository.targets).items())
    ]


def _view(
    file: KeyStatus,
    keys: RoleKeys,
    ends: dt.datetime | None,
    rotator: KeyRotator,
    unsigned_rollouts: tuple[RolloutId, ...],
) -> KeyView:
    rotation = rotator.under_way(file.role)
    coming = rotation.keys.key_ids(file.role) if rotation else ()
    of_people = file.role == "rollout" and file.place == "missing"  # or lost: it looks the same
    return KeyView(
        role=file.role,
        key_ids=tuple(key_id for key_id in keys.key_ids(file.role) if key_id not in coming),
        threshold=keys.threshold,
        place="elsewhere" if of_people else file.place,
        belongs="people" if of_people else file.belongs,
        stolen=_stolen(file.stolen, keys.threshold),
        expires_at=ends,
        state=rotation.step if rotation else "done",
        next_at=moment(due_at(rotation, rotator.waits)) if rotation else None,
        next_key_ids=coming,
        unsigned_rollouts=unsigned_rollouts,
    )


def _stolen(harm: str, threshold: int) -> str:
    """What a thief of one key can do, or what it takes."""
    return harm if threshold == 1 else f"nothing alone; with {threshold} of these: {harm}"
