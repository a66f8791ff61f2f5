"""The fleet secret: one random token in a private folder, and the keys derived from it.

The token is what clients send as ``Authorization: Bearer``.  Gossip, dealing and envelopes use
keys derived from it, so one never stands for another.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from p2pdeploy.errors import ConfigError

__all__ = ["create_secret", "derive_key", "read_secret", "token_matches"]

TOKEN_FILE = "token"
_TOKEN_BYTES = 32  # 256 bit: not guessable at any rate


def create_secret(folder: Path) -> str:
    """Make *folder* (0700) and its token file (0600) unless they exist; return the token."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    path = folder / TOKEN_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return read_secret(folder)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(_TOKEN_BYTES) + "\n")
    return read_secret(folder)


def read_secret(folder: Path) -> str:
    """Read the token of *folder*.

    Raises:
        ConfigError: there is none, it is empty, or others than its owner can read it.
    """
    path = folder / TOKEN_FILE
    try:
        mode = path.stat().st_mode
        token = path.read_text().strip()
    except OSError as error:
        raise ConfigError(
            f"no fleet token: {error.strerror}",
            where=str(path),
            hint="name a fleet with --dir DIR or P2PDEPLOY_DIR; 'p2pctl up' makes one",
            code="no-token",
        ) from error
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError("readable by others", where=str(path), hint=f"chmod 600 {path}")
    if not token:
        raise ConfigError("the token file is empty", where=str(path))
    return token


def derive_key(token: str, purpose: str) -> bytes:
    """A 32-byte key for one *purpose* (``gossip``, ``deal``, ``envelope``)."""
    return hmac.digest(token.encode(), b"p2pdeploy " + purpose.encode(), hashlib.sha256)


def token_matches(presented: str, token: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(presented.encode(), token.encode())
