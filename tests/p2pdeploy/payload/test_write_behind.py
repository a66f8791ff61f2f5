"""What was downloaded is written to the disk before the end, where that is worth it."""

from __future__ import annotations

import ctypes
import errno
import os
import random
from pathlib import Path

import pytest

from p2pdeploy.ids import ServiceName
from p2pdeploy.payload import stage, write_behind
from p2pdeploy.payload.build import Built, build
from p2pdeploy.payload.write_behind import begin_writing

HELLO = ServiceName("hello")
MIB = 1 << 20


@pytest.fixture
def built(make_tree) -> Built:
    """Two large files and a smaller one."""
    rng = random.Random(1)
    sizes = {"large": 16 * MIB, "larger": 17 * MIB, "small": 2 * MIB}
    return build(make_tree({path: rng.randbytes(size) for path, size in sizes.items()}), HELLO)


@pytest.fixture
def root(built: Built, tmp_path: Path) -> Path:
    """``larger`` is not begun."""
    root = tmp_path / "release"
    root.mkdir()
    stage.prepare(root, built.manifest)
    for path in ("large", "small"):
        (root / "tree" / path).write_bytes(b"begun")
    return root


def test_large_files_that_were_begun_are_written(
    built: Built, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    call = write_behind._sync_file_range

    def note(libc: ctypes.CDLL, handle: int) -> None:
        written.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        call(libc, handle)

    monkeypatch.setattr(write_behind, "_sync_file_range", note)
    begin_writing(root, built.manifest)
    assert written == ["large"]


def test_a_disk_that_fails_says_so() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with pytest.raises(OSError, match="sync_file_range") as failed:
        write_behind._sync_file_range(libc, -1)
    assert failed.value.errno == errno.EBADF
