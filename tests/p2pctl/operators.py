"""People who ask to be operators by ``p2pctl auth``, and who let them in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pdeploy.trust.operator_certificate import operator_certificate

__all__ = ["asked", "certificate_in", "let_in", "listed"]


def asked(p2pctl: Callable, folder: Path, name: str, *roles: str) -> Path:
    """The request that *name* makes in *folder*."""
    wanted = [word for role in roles for word in ("--role", role)]
    done = p2pctl("auth", "request", name, *wanted, "--out", folder)
    assert done.code == 0, done
    path = Path(done.out.strip())
    assert path == folder / f"{name}.request"
    return path


def let_in(p2pctl: Callable, fleet: Path, folder: Path, name: str, *roles: str, **more: Any) -> Any:
    """*name* has a folder that works, with what an admin said."""
    path = asked(p2pctl, folder, name, *roles)
    words = [word for role in roles for word in ("--role", role)]
    words += [word for key, value in more.items() for word in (f"--{key}", value)]
    done = p2pctl("auth", "issue", path, *words, "-y", "--dir", fleet, "-o", "json")
    assert done.code == 0, done
    accepted = p2pctl("auth", "accept", folder / f"{name}.pass", "--key", folder)
    assert accepted.code == 0, accepted
    assert accepted.out == f"export P2PDEPLOY_DIR={folder}\n"
    return done.document()


def certificate_in(folder: Path) -> Any:
    return operator_certificate((folder / "operator" / "operator.pem").read_bytes())


def listed(p2pctl: Callable, fleet: Path) -> list[dict[str, Any]]:
    return p2pctl("auth", "list", "-o", "json", "--dir", fleet).document()
