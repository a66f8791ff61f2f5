"""Bytes are shared where that is possible, and copied everywhere else."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import struct
from pathlib import Path

import pytest

from p2pdeploy.payload.copy_range import Copied, copy_range

DATA = random.Random(1).randbytes(50_000)


@pytest.fixture
def files(tmp_path: Path):
    (tmp_path / "source").write_bytes(DATA)
    source = os.open(tmp_path / "source", os.O_RDONLY)
    target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    yield source, target
    os.close(source)
    os.close(target)


@pytest.fixture
def clones(monkeypatch) -> list[tuple[int, int, int]]:
    """A filesystem that shares whole blocks: what it was asked to (offset, new offset, size)."""
    asked: list[tuple[int, int, int]] = []

    def ioctl(target: int, request: int, argument: bytes) -> int:
        assert request == 0x4020940D
        source, offset, size, new_offset = struct.unpack("=qQQQ", argument)
        assert not any(number % 4096 for number in (offset, size, new_offset))
        os.pwrite(target, os.pread(source, size, offset), new_offset)
        asked.append((offset, new_offset, size))
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    return asked


def test_whole_blocks_are_shared_and_the_ends_copied(files, clones) -> None:
    source, target = files
    assert copy_range(source, 100, target, 4196, 20_000) == Copied(20_000, 12_288)
    assert clones == [(4096, 8192, 12_288)]
    assert os.pread(target, 20_000, 4196) == DATA[100:20_100]


def test_what_stands_otherwise_in_its_blocks_is_copied(files, clones) -> None:
    source, target = files
    assert copy_range(source, 100, target, 101, 20_000) == Copied(20_000, 0)
    assert not clones
    assert os.pread(target, 20_000, 101) == DATA[100:20_100]


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY])
def test_a_filesystem_that_cannot_share_gets_a_copy(files, monkeypatch, code: int) -> None:
    source, target = files

    def refuse(*_: object) -> int:
        raise OSError(code, "refused")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    monkeypatch.setattr(os, "copy_file_range", refuse)
    assert copy_range(source, 0, target, 4096, 20_000) == Copied(20_000, 0)
    assert os.pread(target, 20_000, 4096) == DATA[:20_000]


def test_a_full_disk_is_no_reason_to_copy(files, monkeypatch) -> None:
    source, target = files

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(fcntl, "ioctl", full)
    with pytest.raises(OSError, match="no space"):
        copy_range(source, 0, target, 0, 20_000)


def test_a_source_that_ends_before_says_how_far_it_went(files) -> None:
    source, target = files
    assert copy_range(source, 40_000, target, 0, 20_000).size_bytes == 10_000
