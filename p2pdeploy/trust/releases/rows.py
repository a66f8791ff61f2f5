"""A repository as named rows: what a data base or a folder keeps, and only what changed.

Names: ``root/1``, ``root/2``..., ``targets``, ``snapshot``, ``timestamp``, ``svc/NAME``.
A change is written in one transaction: half of it would be a mix of two moments, which every
host refuses.
"""

from __future__ import annotations

from collections.abc import Mapping

from p2pdeploy.errors import ConfigError
from p2pdeploy.trust.releases.keys import service_role
from p2pdeploy.trust.releases.repository import Repository

__all__ = ["changed_rows", "from_rows", "to_rows"]

_HINT = "restore the control plane's data from a backup, then rotate the online keys"


def to_rows(repository: Repository) -> dict[str, bytes]:
    """Every document by its name."""
    rows = {f"root/{number}": root for number, root in enumerate(repository.roots, start=1)}
    rows |= {
        "targets": repository.targets,
        "snapshot": repository.snapshot,
        "timestamp": repository.timestamp,
    }
    rows |= {service_role(name): document for name, document in repository.services.items()}
    return rows


def changed_rows(before: Repository | None, after: Repository) -> dict[str, bytes | None]:
    """What to write, by name; None deletes a row."""
    old = {} if before is None else to_rows(before)
    new = to_rows(after)
    changed: dict[str, bytes | None] = {
        name: document for name, document in new.items() if old.get(name) != document
    }
    return changed | dict.fromkeys(old.keys() - new.keys())


def from_rows(rows: Mapping[str, bytes]) -> Repository:
    """Put a repository together again.

    Raises:
        ConfigError: a row is missing; nothing may be published before it is back.
    """
    roots = {int(name[5:]): root for name, root in rows.items() if name.startswith("root/")}
    missing = [name for name in ("targets", "snapshot", "timestamp") if name not in rows]
    missing += [f"root/{n}" for n in range(1, max(roots, default=1) + 1) if n not in roots]
    if missing:
        raise ConfigError(f"release metadata lacks {', '.join(missing[:5])}", hint=_HINT)
    return Repository(
        roots=tuple(roots[number] for number in sorted(roots)),
        targets=rows["targets"],
        snapshot=rows["snapshot"],
        timestamp=rows["timestamp"],
        services={name[4:]: rows[name] for name in rows if name.startswith("svc/")},
    )
