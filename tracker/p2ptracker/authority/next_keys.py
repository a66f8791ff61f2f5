"""A key that takes over: made in a file of its own, and put in the role's place by a rename.

A kill in between leaves both; which of the two signs is what the database says.
"""

from __future__ import annotations

import os

from p2pdeploy.trust.private_files import read_private, write_private
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.authority.folder import TrustPaths

__all__ = ["drop_key", "make_next_key", "next_key", "put_in_place"]

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


def put_in_place(paths: TrustPaths, role: str) -> SigningKey:
    """Make the key that takes over the role's, whose old one is gone then.  Twice is once."""
    path = paths.next_key(role)
    if path.exists():
        path.replace(paths.key(role))
        _sync(paths)
    return SigningKey.from_pem(read_private(paths.key(role), hint=_HINT), role=role)


def drop_key(paths: TrustPaths, role: str) -> None:
    """Others hold the keys of *role* now.  Twice is once."""
    paths.key(role).unlink(missing_ok=True)
    paths.next_key(role).unlink(missing_ok=True)
    _sync(paths)


def _sync(paths: TrustPaths) -> None:
    folder = os.open(paths.keys, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
