"""Durable records: what must survive a kill at any instant and the loss of power.

One small file per service and one for the host.  Each is replaced whole (write aside, fsync,
rename, fsync the folder), so a reader sees the old record or the new one.  The first line holds
the digest of the second; a file that does not match was damaged after it was written, and the
daemon refuses to start on it: guessing could run an aborted build or forget a failure.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from p2pdeploy.activation.record import HostRecord, ServiceRecord
from p2pdeploy.codec import UNDECODABLE
from p2pdeploy.errors import ConfigError, UnavailableError
from p2pdeploy.ids import ServiceName
from p2pdeploy.limits import SERVICES_PER_HOST_MAX
from p2pdeploy.manifest import digest_of

__all__ = ["Journal", "epoch_of", "sync_folder", "write_durably"]

Record = TypeVar("Record", ServiceRecord, HostRecord)

_MAGIC = "p2pdaemon-record-1"
_RECORD_BYTES_MAX = 64 * 1024  # a record is below 2 KiB; anything this long is not one
_BOOTS_BITS = 32


def epoch_of(enrolment: int, boots: int) -> int:
    """The epoch of one life of a daemon.

    It rises with every boot.  Over a lost disk it rises because the control plane enrols the host
    anew; and, where nobody did, because a counter that starts anew starts at the time of day.
    """
    assert 0 < boots < 1 << _BOOTS_BITS, "four billion boots"
    return enrolment << _BOOTS_BITS | boots


class Journal:
    """The records below *folder*.  Blocking: one call is one unit of work for a thread."""

    def __init__(self, folder: Path) -> None:
        self._services = folder / "services"
        self._host = folder / "host"
        self._services.mkdir(mode=0o700, parents=True, exist_ok=True)

    def begin_boot(self, wall_s: float) -> HostRecord:
        """Count this boot and persist that before anything else happens.

        Args:
            wall_s: Seconds since the epoch; a host boots less than once a second, so a first
                count of this is above every count of the host's lives before.

        Raises:
            ConfigError: the host's record is damaged, or missing while services have theirs.
        """
        record = self._read(self._host, HostRecord) if self._host.exists() else None
        if record is None:
            if any(self._service_files()):
                raise ConfigError(
                    "the host's record is missing although services have records",
                    where=str(self._host),
                    hint=_HINT,
                    code="journal-damaged",
                )
            record = HostRecord(boots=int(wall_s))
        record = msgspec.structs.replace(record, boots=record.boots + 1)
        self.write_host(record)
        return record

    def services(self) -> list[ServiceRecord]:
        """Every service's record, in name order.

        Raises:
            ConfigError: a file is damaged or does not belong here; it names the file.
        """
        records: list[ServiceRecord] = []
        for path in self._service_files():
            record = self._read(path, ServiceRecord)
            if record.service != path.name:
                raise _damaged(path, f"it is the record of {record.service!r}")
            records.append(record)
        if len(records) > SERVICES_PER_HOST_MAX:
            raise _damaged(self._services, f"more than {SERVICES_PER_HOST_MAX} services")
        return records

    def write_service(self, record: ServiceRecord) -> None:
        """Durable when this returns."""
        _write(self._path_of(record.service), record)

    def write_host(self, record: HostRecord) -> None:
        """Durable when this returns."""
        _write(self._host, record)

    def _path_of(self, service: ServiceName) -> Path:
        return self._services / service

    def _service_files(self) -> list[Path]:
        # "#" can't stand in a service name: what carries it was never renamed into place.
        return sorted(path for path in self._services.iterdir() if "#" not in path.name)

    def _read(self, path: Path, kind: type[Record]) -> Record:
        try:
            with path.open("rb") as file:
                data = file.read(_RECORD_BYTES_MAX + 1)
        except OSError as error:
            raise _damaged(path, f"cannot be read: {error.strerror}") from error
        head, _, body = data.partition(b"\n")
        if head.decode(errors="replace") != f"{_MAGIC} {digest_of(body)}":
            raise _damaged(path, "its digest does not match its content")
        try:
            return msgspec.json.decode(body, type=kind)
        except UNDECODABLE as error:
            raise _damaged(path, str(error)) from error


_HINT = "move the state folder away and enrol the host anew, or restore it; do not edit it"


def _damaged(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"damaged record: {why}", where=str(path), hint=_HINT, code="journal-damaged"
    )


def _write(path: Path, record: ServiceRecord | HostRecord) -> None:
    body = msgspec.json.encode(record) + b"\n"
    write_durably(path, f"{_MAGIC} {digest_of(body)}\n".encode() + body)


def write_durably(path: Path, data: bytes) -> None:
    """Replace *path* by *data*, all or nothing, and on the disk when this returns.

    Raises:
        UnavailableError: the disk is full (``disk-full``) or refuses.  *path* is as it was, or
            is *data* already and might not survive a loss of power: write it again.
    """
    aside = path.with_name(f"{path.name}#new")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(
            OSError
        ):  # what refused to write may refuse this; the cause counts
            aside.unlink(missing_ok=True)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise UnavailableError(
            f"cannot be written: {error.strerror}",
            where=str(path),
            hint="free some space" if full else "",
            code="disk-full" if full else "journal-unwritable",
        ) from error


def sync_folder(folder: Path) -> None:
    """Put the names in *folder* on the disk.  Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
