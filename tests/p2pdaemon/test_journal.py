"""The journal: a kill at any write leaves the old record or the new; damage is never guessed at."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from p2pdaemon import journal as journal_module
from p2pdaemon.journal import Journal, epoch_of, write_durably
from p2pdeploy.activation.record import ServiceRecord, Started
from p2pdeploy.errors import ConfigError, UnavailableError
from p2pdeploy.ids import Digest, ServiceName, Version
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Build

BUILD = Build(version=Version("1.0.0"), digest=Digest("ab" * 32))
RECORD = ServiceRecord(
    service=ServiceName("hello"),
    accepted_seq=3,
    running=BUILD,
    started=Started(plan_seq=3, build=BUILD, previous=None, bake_s=2.5, activation_max_s=60.0),
    outcome=Rank.HEALTHY,
)


class Killed(BaseException):
    """Stands for kill -9 at one call into the operating system."""


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin_boot(100.5)
    journal.write_service(RECORD)
    assert Journal(tmp_path).services() == [RECORD]


def test_every_boot_is_counted_before_anything_else(tmp_path: Path) -> None:
    assert [Journal(tmp_path).begin_boot(100.5).boots for _ in range(3)] == [101, 102, 103]
    assert epoch_of(2, 1) > epoch_of(1, 2**32 - 1)


def test_a_life_after_a_lost_disk_is_above_all_lives_before(tmp_path: Path) -> None:
    before = [Journal(tmp_path / "a").begin_boot(100.5).boots for _ in range(50)]
    after = Journal(tmp_path / "b").begin_boot(200.0).boots
    assert after > max(before)


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_a_kill_while_writing_leaves_the_record_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    journal = Journal(tmp_path)
    journal.begin_boot(100.5)
    journal.write_service(RECORD)

    def die(*_args: object, **_more: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        if call == "replace":
            patched.setattr(Path, "replace", die)
        else:
            patched.setattr(journal_module.os, call, die)
        with pytest.raises(Killed):
            journal.write_service(ServiceRecord(service=ServiceName("hello"), accepted_seq=9))

    [after] = Journal(tmp_path).services()
    # "open" is of the folder, after the rename: the new record stands by then.
    assert after.accepted_seq == (9 if call == "open" else 3)


def test_a_torn_file_beside_the_record_is_not_a_record(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin_boot(100.5)
    (tmp_path / "services" / "hello#new").write_bytes(b"half")
    assert journal.services() == []


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "foreign"])
def test_a_damaged_record_stops_the_start_and_names_the_file(tmp_path: Path, damage: str) -> None:
    journal = Journal(tmp_path)
    journal.begin_boot(100.5)
    journal.write_service(RECORD)
    path = tmp_path / "services" / "hello"
    data = path.read_bytes()
    match damage:
        case "truncate":
            path.write_bytes(data[:-5])
        case "flip":
            path.write_bytes(data.replace(b'"accepted_seq":3', b'"accepted_seq":1'))
        case "empty":
            path.write_bytes(b"")
        case _:
            path.rename(tmp_path / "services" / "other")
    with pytest.raises(ConfigError) as refused:
        Journal(tmp_path).services()
    assert str(tmp_path / "services") in refused.value.where
    assert refused.value.code == "journal-damaged"


def test_services_without_the_hosts_record_stop_the_start(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin_boot(100.5)
    journal.write_service(RECORD)
    (tmp_path / "host").unlink()
    with pytest.raises(ConfigError, match="host's record is missing"):
        Journal(tmp_path).begin_boot(100.5)


def test_the_folder_is_synced_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(journal_module.os, "fsync", record)
    write_durably(tmp_path / "file", b"data")
    assert synced == [f"{tmp_path}/file#new", str(tmp_path)]


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "disk-full"), (errno.EIO, "journal-unwritable")]
)
def test_a_disk_that_refuses_is_one_clear_error_and_the_record_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    path = tmp_path / "record"
    write_durably(path, b"before")

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UnavailableError) as caught:
        write_durably(path, b"after")
    assert (caught.value.code, path.read_bytes()) == (code, b"before")
    assert [child.name for child in tmp_path.iterdir()] == ["record"]


def test_a_disk_that_refuses_the_cleaning_up_as_well_does_not_hide_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "read-only now")

    monkeypatch.setattr(os, "fsync", fill)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(UnavailableError) as caught:
        write_durably(tmp_path / "record", b"data")
    assert caught.value.code == "disk-full"
