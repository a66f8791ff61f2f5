"""The signing keys of a fleet as files: which there are, and taking some of them offline.

``DIR/trust/keys/ROLE.key`` is a private key.  When it has been taken offline ``ROLE.pub`` stands
in its place: the public half in hexadecimal, so that one still sees which key it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from p2pdeploy.errors import ConfigError, IntegrityError, RefusedError
from p2pdeploy.trust.private_files import make_private_folder, read_private, write_private
from p2pdeploy.trust.signing import PUBLIC_KEY_BYTES, SigningKey, key_id_of

__all__ = ["KEY_ROLES", "KeyRole", "KeyStatus", "export_offline", "key_statuses"]

_HINT = "'p2ptracker init DIR' makes the keys of a fleet"

Place = Literal["here", "offline", "missing"]


class KeyRole(msgspec.Struct, frozen=True):
    """A role: where its key belongs in production, and what a thief of it could do."""

    name: str
    belongs: Literal["offline", "online"]
    stolen: str


KEY_ROLES = (
    KeyRole("root", "offline", "replace every other key of releases"),
    KeyRole("targets", "offline", "name publishers, and keys that sign orders"),
    KeyRole("snapshot", "online", "hide new releases for a week"),
    KeyRole("timestamp", "online", "hide new releases for a day"),
    KeyRole("rollout", "online", "roll out any signed release to any target"),
    KeyRole("deployer", "online", "stop, pace and revert what is being rolled out"),
    KeyRole("go", "online", "let a rollout that was signed go on, within its bounds"),
    KeyRole("abort", "online", "stop rollouts"),
    KeyRole("enrol", "online", "speak as any host of the fleet"),
)


class KeyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One role's key: its id, where it is (here, offline or missing), and where it belongs."""

    role: str
    key_id: str
    place: Place
    belongs: str
    stolen: str


def key_statuses(folder: Path) -> list[KeyStatus]:
    """How the keys of the fleet in *folder* stand.

    Raises:
        ConfigError: it has none, or one is damaged or readable by others.
    """
    keys = _keys_folder(folder)
    return [_status(keys, role) for role in KEY_ROLES]


def export_offline(folder: Path, out: Path, roles: Sequence[str]) -> list[KeyStatus]:
    """Move private keys of *roles* from the fleet in *folder* to *out*, a medium to be taken away.

    Each is written to *out*, read again and compared before it is deleted here, so a kill at any
    moment loses none; what was moved before is left as it is.

    Raises:
        RefusedError: *out* is inside the fleet's folder, or holds another key of that name.
        ConfigError: the fleet has no such key, or it is damaged.
        IntegrityError: *out* does not give back what was written; the key stays here.
        OSError: *out* can't be written; the same.

    Returns:
        The roles that were asked for, as they stand now.
    """
    keys = _keys_folder(folder)
    if out.resolve().is_relative_to(folder.resolve()):
        raise RefusedError(
            "that is inside the fleet's folder",
            where=str(out),
            hint="name a medium that is taken away",
            code="not-offline",
        )
    make_private_folder(out)
    for role in roles:
        if (keys / f"{role}.key").exists():
            _move(keys, out, role)
    return [_status(keys, role) for role in KEY_ROLES if role.name in roles]


def _move(keys: Path, out: Path, role: str) -> None:
    private, copy = keys / f"{role}.key", out / f"{role}.key"
    pem = read_private(private, hint=_HINT)
    key = SigningKey.from_pem(pem, role=role)
    if copy.exists() and read_private(copy, hint="") != pem:
        raise RefusedError("another key of that name is there already", where=str(copy))
    write_private(copy, pem)
    if read_private(copy, hint="") != pem:
        raise IntegrityError("what was written does not read back", where=str(copy))
    write_private(keys / f"{role}.pub", key.public_key.hex().encode() + b"\n")
    private.unlink()


def _status(keys: Path, role: KeyRole) -> KeyStatus:
    private, public = keys / f"{role.name}.key", keys / f"{role.name}.pub"
    key_id, place = "", "missing"
    if private.exists():
        key = SigningKey.from_pem(read_private(private, hint=_HINT), role=role.name)
        key_id, place = key.key_id, "here"
    elif public.exists():
        key_id, place = key_id_of(role.name, _public_key(public)), "offline"
    return KeyStatus(
        role=role.name, key_id=key_id, place=place, belongs=role.belongs, stolen=role.stolen
    )


def _public_key(path: Path) -> bytes:
    try:
        key = bytes.fromhex(read_private(path, hint=_HINT).decode().strip())
    except ValueError as error:
        raise ConfigError("no public key in hexadecimal", where=str(path)) from error
    if len(key) != PUBLIC_KEY_BYTES:
        raise ConfigError(f"a public key has {PUBLIC_KEY_BYTES} bytes", where=str(path))
    return key


def _keys_folder(folder: Path) -> Path:
    keys = folder / "trust" / "keys"
    if not keys.is_dir():
        raise ConfigError("this folder holds no keys", where=str(keys), hint=_HINT, code="no-trust")
    return keys
