"""A key that takes over: made in a file of its own, and put in the role's place by a rename.

A kill in between leaves both; which of the two signs is what the signed documents name, and until
that one is in place nobody makes another.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from p2pdeploy.errors import UnavailableError
from p2pdeploy.trust.private_files import read_private, write_private
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.authority.folder import TrustPaths

__all__ = ["drop_key", "make_next_key", "named_key", "next_key", "put_in_place"]

_HINT = "restore it from a backup of the fleet's folder, or begin the rotation anew"


def make_next_key(paths: TrustPaths, role: str) -> SigningKey:
    """A key that shall take over in *role*; one that was left there may be a thief's by now.

    Raises:
        OSError: the folder can't be written.
    """
    key = SigningKey.generate(role=role)
    write_private(paths.next_key(role), key.to_pem())
    return key


def next_key(paths: TrustPaths, role: str) -> SigningKey:
    """The key that takes over in *role*.  Raises ConfigError: missing or damaged."""
    return SigningKey.from_pem(read_private(paths.next_key(role), hint=_HINT), role=role)


def named_key(paths: TrustPaths, role: str, named: Collection[bytes]) -> SigningKey | None:
    """The key of *role* that is one of *named*, public halves, in whichever of the two files.

    Returns:
        None: neither holds one.

    Raises:
        ConfigError: a file is damaged, or others can read it.
    """
    for path in (paths.key(role), paths.next_key(role)):
        key = _read(path, role)
        if key is not None and key.public_key in named:
            return key
    return None


def put_in_place(paths: TrustPaths, role: str, named: Collection[bytes]) -> SigningKey | None:
    """Put the key that takes over in the role's file if it is the one of *named*.  Twice is once.

    Returns:
        The key in the role's file; None: neither file holds one of *named*, and nothing changed.

    Raises:
        ConfigError: a file is damaged, or others can read it.
        UnavailableError: the disk refused; the key that takes over is in one of the two files, and
            the caller tries again before another is made.
    """
    key, own = named_key(paths, role, named), _read(paths.key(role), role)
    if key is None:
        return None
    try:
        if own is None or own.public_key != key.public_key:
            paths.next_key(role).replace(paths.key(role))
        _sync(paths)  # perhaps of the rename before
    except OSError as error:
        raise UnavailableError(
            f"the new {role} key counts already, and its file can't be put in place: "
            f"{error.strerror}",
            where=str(paths.key(role)),
            hint="let the folder be written; it is tried again by itself",
            code="key-not-in-place",
        ) from error
    return key


def drop_key(paths: TrustPaths, role: str) -> None:
    """Others hold the keys of *role* now.  Twice is once."""
    paths.key(role).unlink(missing_ok=True)
    paths.next_key(role).unlink(missing_ok=True)
    _sync(paths)


def _read(path: Path, role: str) -> SigningKey | None:
    return SigningKey.from_pem(read_private(path, hint=_HINT), role=role) if path.exists() else None


def _sync(paths: TrustPaths) -> None:
    folder = os.open(paths.keys, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
