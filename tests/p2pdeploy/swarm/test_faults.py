"""A full disk is called a full disk, whatever libtorrent trips over afterwards."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import libtorrent as lt
import pytest
import trio

from p2pdeploy.errors import UnavailableError
from p2pdeploy.swarm import faults
from p2pdeploy.swarm.faults import disk_fault
from p2pdeploy.swarm.torrents import Torrents

TOO_SHORT = (23, "libtorrent", "file too short")
FULL = UnavailableError("the disk is full", code="disk-full")
BROKEN = UnavailableError("cannot read", code="disk-error")


def code_of(number: int, category: str, path: str = "", before=None) -> str:
    return disk_fault(number, category, "-", path, before=before).code


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("category", ["generic", "system"])
def test_no_space_and_no_quota_are_a_full_disk(number, category):
    assert code_of(number, category) == "disk-full"


def test_the_same_number_of_another_category_is_something_else():
    assert code_of(errno.ENOSPC, "libtorrent") == "disk-error"
    assert code_of(TOO_SHORT[0], "generic", before=FULL) == "disk-error"


def test_a_file_too_short_after_a_full_disk_is_still_the_full_disk(tmp_path):
    path = str(tmp_path / "file")
    assert disk_fault(*TOO_SHORT, path, before=FULL) is FULL
    assert disk_fault(*TOO_SHORT, path, before=BROKEN).code == "disk-error"
    assert disk_fault(*TOO_SHORT, path, before=None).code == "disk-error"


def test_another_fault_after_a_full_disk_is_told():
    assert code_of(errno.EIO, "generic", before=FULL) == "disk-error"


def test_a_file_too_short_on_a_disk_without_room_is_a_full_disk(monkeypatch):
    def without_room(_path: str) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=3, f_frsize=4096)

    monkeypatch.setattr(faults.os, "statvfs", without_room)
    assert disk_fault(*TOO_SHORT, "/some/file", before=None).code == "disk-full"


def test_a_folder_that_is_gone_does_not_hide_the_fault(tmp_path):
    fault = disk_fault(*TOO_SHORT, str(tmp_path / "gone/file"), before=None)
    assert (fault.code, "file too short" in fault.message) == ("disk-error", True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this root may not mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.processes
async def test_a_disk_that_fills_while_fetching_is_told_as_full_each_time(lab, small_disk):
    release = lab.Release({"data/big": 4 * 1024 * 1024})
    origin, host = lab.Origin(release), lab.host()
    host.root = small_disk
    async with host.session:
        torrent = await host.add(release)
        for _ in range(3):
            with trio.fail_after(20), pytest.raises(UnavailableError) as caught:
                await host.fetch(torrent, origin, [])
            assert caught.value.code == "disk-full"
            assert caught.value.where.endswith("data/big")


@pytest.mark.processes
async def test_a_disk_fault_whose_alert_was_lost_is_found_out(lab, small_disk, monkeypatch):
    """As when 8,000 alerts wait: libtorrent has stopped the torrent and says so once only."""
    take = Torrents.take

    def lose(torrents: Torrents, alert) -> None:
        if isinstance(alert, lt.file_error_alert | lt.torrent_error_alert):
            torrents.suspect_all()
        else:
            take(torrents, alert)

    monkeypatch.setattr(Torrents, "take", lose)
    release = lab.Release({"data/big": 4 * 1024 * 1024})
    origin, host = lab.Origin(release), lab.host()
    host.root = small_disk
    async with host.session:
        torrent = await host.add(release)
        with trio.fail_after(20), pytest.raises(UnavailableError) as caught:
            await host.fetch(torrent, origin, [])
    assert caught.value.code in ("disk-full", "disk-error")
