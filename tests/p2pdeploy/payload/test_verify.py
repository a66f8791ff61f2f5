"""A staged tree that is not what its manifest says is found, whatever was done to it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pdeploy.errors import IntegrityError
from p2pdeploy.payload import stage, verify
from p2pdeploy.payload.build import Built
from tests.privileges import needs_root


@pytest.fixture
def root(mixed: Built, tmp_path: Path) -> Path:
    """A staged release, sealed."""
    folder = tmp_path / "release"
    folder.mkdir()
    stage.prepare(folder, mixed.manifest)
    for number, blob in enumerate(mixed.manifest.blobs):
        data = mixed.sources.pread(number, 0, blob.size_bytes)
        stage.blob_path(folder, mixed.manifest, number).write_bytes(data)
    mixed.sources.close()
    stage.finish(folder, mixed.manifest)
    lie_still(folder)
    stage.verify(folder, mixed.manifest)
    assert (folder / "seal").exists()
    return folder


def lie_still(root: Path) -> None:
    """Wait until the filesystem's clock has ticked on: what changes now shows in a ctime."""
    probe = root / "probe"
    changed = max(path.lstat().st_ctime_ns for path in root.rglob("*"))
    while True:
        probe.touch()
        if probe.stat().st_ctime_ns > changed + 2 * verify.STILL_NS:
            return


def in_folder(path: Path, change: Callable[[], object]) -> None:
    """Carry out *change* in a folder that is read-only, and make it so again."""
    path.parent.chmod(0o755)
    change()
    path.parent.chmod(0o555)


def overwrite(path: Path) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"evil")
    path.chmod(0o444)


def resize(path: Path, size_bytes: int) -> None:
    path.chmod(0o644)
    os.truncate(path, size_bytes)
    path.chmod(0o444)


def replace(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[:4] = b"evil"

    def swap() -> None:
        path.unlink()
        path.write_bytes(data)
        path.chmod(0o444)

    in_folder(path, swap)


def pipe_instead(path: Path) -> None:
    """Of the mode and, being empty, of the content that the file has."""

    def swap() -> None:
        path.unlink()
        os.mkfifo(path)
        path.chmod(0o444)

    in_folder(path, swap)


def link_instead(path: Path) -> None:
    def swap() -> None:
        kept = path.rename(path.parent.parent / "kept-elsewhere")
        path.symlink_to(kept)

    path.parent.parent.chmod(0o755)
    in_folder(path, swap)
    path.parent.parent.chmod(0o555)


CHANGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "swapped file": ("big/model.bin", replace),
    "overwritten file": ("big/model.bin", overwrite),
    "overwritten small file": ("lib/a", overwrite),
    "link in place of a file": ("big/model.bin", link_instead),
    "pipe in place of a file": ("empty", pipe_instead),
    "setuid bit": ("bin/run", lambda path: path.chmod(0o4555)),
    "writable file": ("lib/a", lambda path: path.chmod(0o666)),
    "writable folder": ("lib", lambda path: path.chmod(0o777)),
    "executable data": ("lib/a", lambda path: path.chmod(0o555)),
    "missing file": ("lib/a", lambda path: in_folder(path, path.unlink)),
    "missing folder": ("folder/void", lambda path: in_folder(path, path.rmdir)),
    "longer file": ("empty", lambda path: resize(path, 1)),
    "hard link": ("lib/a", lambda path: os.link(path, path.parents[2] / "second-name")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_after_verification_is_found_and_named(
    what: str, mixed: Built, root: Path
) -> None:
    path, change = CHANGES[what]
    change(root / "tree" / path)
    with pytest.raises(IntegrityError) as caught:
        stage.verify(root, mixed.manifest)
    assert caught.value.code == "tree-differs"
    assert caught.value.where in (path, "big", "kept-elsewhere")


def test_an_extra_file_after_verification_is_found(mixed: Built, root: Path) -> None:
    planted = root / "tree/lib/sitecustomize.py"
    in_folder(planted, planted.touch)
    with pytest.raises(IntegrityError, match=r"lib/sitecustomize\.py: is not part"):
        stage.verify(root, mixed.manifest)


def test_a_file_that_grew_is_refused_before_it_is_read(mixed: Built, root: Path) -> None:
    resize(root / "tree/empty", 1 << 40)  # sparse: reading it would take half an hour
    with pytest.raises(IntegrityError, match=f"empty: has {1 << 40} bytes, not 0"):
        stage.verify(root, mixed.manifest)


def test_a_link_that_leads_elsewhere_is_found(mixed: Built, root: Path) -> None:
    link = root / "tree/lib/link"

    def lead_elsewhere() -> None:
        link.unlink()
        link.symlink_to("../lib/a")

    in_folder(link, lead_elsewhere)
    with pytest.raises(IntegrityError, match="lib/link: leads elsewhere"):
        stage.verify(root, mixed.manifest)


def test_a_write_whose_mtime_was_set_back_is_found(mixed: Built, root: Path) -> None:
    """ctime is the kernel's: nobody sets it back but who sets the clock back."""
    path = root / "tree/big/model.bin"
    before = path.stat()
    overwrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(IntegrityError, match="does not have its digest"):
        stage.verify(root, mixed.manifest)


@needs_root
def test_a_file_given_to_another_user_is_found(mixed: Built, root: Path) -> None:
    os.chown(root / "tree/lib/a", 65534, -1)
    with pytest.raises(IntegrityError, match="lib/a: belongs to user 65534"):
        stage.verify(root, mixed.manifest)


def test_a_whole_tree_swapped_for_a_link_is_found(mixed: Built, root: Path) -> None:
    (root / "tree").rename(root / "aside")
    (root / "tree").symlink_to("aside")
    with pytest.raises(IntegrityError) as caught:
        stage.verify(root, mixed.manifest)
    assert caught.value.code == "tree-differs"


def test_an_unchanged_tree_is_not_read_again(
    mixed: Built, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_handle: int, _buffer: memoryview) -> str:
        raise AssertionError("read again")

    monkeypatch.setattr(verify, "_digest_of", refuse)
    stage.verify(root, mixed.manifest)
    (root / "seal").write_text("0" * 64)  # of another tree
    with pytest.raises(AssertionError, match="read again"):
        stage.verify(root, mixed.manifest)


def test_no_seal_is_given_to_what_changed_a_moment_ago(
    mixed: Built, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second change in the same tick of the clock would leave the same ctime."""
    path = root / "tree/lib/a"
    path.chmod(0o644)
    path.chmod(0o444)
    changed_ns = path.stat().st_ctime_ns
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _clock: changed_ns + 1)
    stage.verify(root, mixed.manifest)
    assert not (root / "seal").exists()


def test_what_was_discarded_is_staged_from_scratch(mixed: Built, root: Path) -> None:
    (root / "manifest").write_bytes(b"kept")
    stage.discard(root)
    stage.discard(root)
    assert not stage.is_staged(root)
    assert sorted(path.name for path in root.iterdir()) == ["manifest", "probe"]
    with pytest.raises(IntegrityError, match="is not staged"):
        stage.verify(root, mixed.manifest)
