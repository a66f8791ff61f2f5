"""Which user a service runs as on this host.

When the daemon is root each service has a user of its own, or any service could forge what this
host attests and change what another one runs.  No account in /etc/passwd is needed: the number
follows from host and service, so a journal that was lost gives the same one again, and what is
taken is kept on disk, so no two services of a host ever share one.

Otherwise services run as the daemon's user, and nothing on this host tells the two apart.
Everything here blocks.
"""

from __future__ import annotations

import os
import pwd
import stat
import threading
from collections.abc import Collection
from pathlib import Path

import blake3
import msgspec

from p2pdaemon.journal import write_durably
from p2pdeploy.codec import UNDECODABLE
from p2pdeploy.errors import ConfigError, PayloadError, RefusedError
from p2pdeploy.ids import HostName, ServiceName

__all__ = ["ServiceUser", "ServiceUsers", "give_folder"]

# systemd's table of users (systemd.io/UIDS-GIDS) has nothing between its container range, which
# ends at 1,879,048,191, and the foreign range at 2,147,352,576.
USER_ID_MIN = 1_900_000_000
USER_IDS = 100_000_000
USERS_MAX = 4_096  # services that a host ever had; a table this long is no accident
_TABLE_BYTES_MAX = 1024 * 1024


class ServiceUser(msgspec.Struct, frozen=True, kw_only=True):
    """As whom a service runs; it is in no other group."""

    uid: int
    gid: int


class ServiceUsers:
    """The users of one host's services.  Thread-safe.

    Args:
        path: The table on disk, the daemon's alone.
        host: Two hosts on one machine, as in a lab, have different users for one service.
        allowed: Accounts that a service.toml may name.
        is_root: Whether this process may become others.
    """

    def __init__(
        self,
        path: Path,
        host: HostName,
        *,
        allowed: Collection[str] = (),
        is_root: bool | None = None,
    ) -> None:
        self._path = path
        self._host = host
        self._allowed = frozenset(allowed)
        self._is_root = os.geteuid() == 0 if is_root is None else is_root
        self._turn = threading.Lock()

    def user_of(self, service: ServiceName, wanted: str = "") -> ServiceUser | None:
        """The user to run *service* as; None: the daemon's own, because it is not root.

        Args:
            service: Its name.
            wanted: The account that its service.toml names, if any.

        Raises:
            PayloadError: that account is not allowed here, or does not exist.
            ConfigError: the table was damaged.
            RefusedError, UnavailableError: no number is left, or the disk fails.  In each case
                start nothing.
        """
        if wanted:
            return self._account(wanted)
        if not self._is_root:
            return None
        with self._turn:
            taken = self._read()
            if service not in taken:
                taken[service] = _free_number(f"{self._host}/{service}", frozenset(taken.values()))
                if len(taken) > USERS_MAX:
                    raise RefusedError(
                        f"more than {USERS_MAX} services", where=str(self._path), code="no-user"
                    )
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_durably(self._path, msgspec.json.encode(taken))
                self._path.chmod(0o600)
            number = taken[service]
        return ServiceUser(uid=number, gid=number)

    def _account(self, name: str) -> ServiceUser | None:
        where = "service.toml: run.user"
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            raise PayloadError(f"no account {name!r} on this host", where=where) from None
        if not self._is_root and account.pw_uid == os.geteuid():
            return None
        if not self._is_root:
            raise PayloadError(f"only a daemon that is root can run it as {name!r}", where=where)
        if name not in self._allowed:
            hint = "name it in service_users of the host's configuration"
            raise PayloadError(f"account {name!r} is not allowed here", where=where, hint=hint)
        if account.pw_uid == 0 or account.pw_uid >= USER_ID_MIN:
            raise PayloadError(f"account {name!r} is root or a service's own", where=where)
        return ServiceUser(uid=account.pw_uid, gid=account.pw_gid)

    def _read(self) -> dict[ServiceName, int]:
        try:
            with self._path.open("rb") as file:
                data = file.read(_TABLE_BYTES_MAX)
        except FileNotFoundError:
            return {}
        try:
            taken = msgspec.json.decode(data, type=dict[ServiceName, int])
        except UNDECODABLE as error:
            raise self._damaged(str(error)) from error
        if len(set(taken.values())) != len(taken):
            raise self._damaged("two services have one number")
        if not all(0 <= number - USER_ID_MIN < USER_IDS for number in taken.values()):
            raise self._damaged("a number is not of the services' range")
        return taken

    def _damaged(self, why: str) -> ConfigError:
        hint = "stop every service of this host, then remove this file"
        return ConfigError(
            f"damaged table: {why}", where=str(self._path), hint=hint, code="journal-damaged"
        )


def _free_number(name: str, taken: frozenset[int]) -> int:
    """The number that follows from *name*, or the next one that is free."""
    start = int.from_bytes(blake3.blake3(name.encode()).digest(length=8), "big")
    for step in range(len(taken) + 1):
        number = USER_ID_MIN + (start + step) % USER_IDS
        if number not in taken:
            return number
    raise AssertionError("more numbers than are taken were tried")


def give_folder(path: Path, user: ServiceUser | None) -> None:
    """Make *path* a folder of *user* alone, with all that its owner of before had in it.

    No link is followed, and a file with a second name stays whose it is: that may be elsewhere.
    Idempotent; after a crash it is done again, because the folder itself changes hands last.

    Raises:
        OSError: the disk fails, or this root may not give files away.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    if user is None:
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        before = os.fstat(handle)
        if (before.st_uid, before.st_gid) != (user.uid, user.gid):
            for _, folders, files, at in os.fwalk(".", dir_fd=handle):
                for name in (*folders, *files):
                    _give(name, at, before.st_uid, user)
            os.fchown(handle, user.uid, user.gid)
        os.fchmod(handle, 0o700)
    finally:
        os.close(handle)


def _give(name: str, folder: int, owner: int, user: ServiceUser) -> None:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if status.st_uid == owner and (stat.S_ISDIR(status.st_mode) or status.st_nlink == 1):
        os.chown(name, user.uid, user.gid, dir_fd=folder, follow_symlinks=False)
