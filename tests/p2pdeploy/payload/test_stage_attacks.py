"""What somebody may do to a tree while it is staged, or to a manifest before: each by its name."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import msgspec
import pytest

from p2pdeploy.errors import IntegrityError, ProtocolError
from p2pdeploy.manifest import Manifest
from p2pdeploy.payload import stage
from p2pdeploy.payload.build import Built
from p2pdeploy.payload.check import check_manifest
from p2pdeploy.payload.delta import Older
from tests.p2pdeploy.payload.local_pieces import local_pieces
from tests.privileges import needs_root


@pytest.fixture
def root(mixed: Built, tmp_path: Path) -> Path:
    """A release whose blobs have all arrived."""
    folder = tmp_path / "release"
    folder.mkdir()
    stage.prepare(folder, mixed.manifest)
    for number, blob in enumerate(mixed.manifest.blobs):
        data = mixed.sources.pread(number, 0, blob.size_bytes)
        stage.blob_path(folder, mixed.manifest, number).write_bytes(data)
    mixed.sources.close()
    return folder


def renamed(manifest: Manifest, old: str, new: str) -> Manifest:
    """*manifest* with one entry at another path, where its order allows that."""
    entries = [
        msgspec.structs.replace(entry, path=new) if entry.path == old else entry
        for entry in manifest.entries
    ]
    entries.sort(key=lambda entry: entry.path.split("/"))
    return msgspec.structs.replace(manifest, entries=tuple(entries))


@pytest.mark.parametrize(
    "path", ["../escape", "lib/../../escape", "/etc/escape", "a\0b", "", ".", "lib/.", "lib//a"]
)
def test_path_traversal_names_are_refused_before_anything_is_made(
    mixed: Built, path: str, tmp_path: Path
) -> None:
    mixed.sources.close()
    with pytest.raises(IntegrityError, match=r"plain relative path|control character|is empty"):
        check_manifest(renamed(mixed.manifest, "lib/a", path))
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize("bit", [stat.S_ISUID, stat.S_ISGID, stat.S_ISVTX])
def test_a_setuid_bit_in_the_manifest_is_refused(mixed: Built, bit: int) -> None:
    mixed.sources.close()
    entries = [
        msgspec.structs.replace(entry, mode=entry.mode | bit) if entry.path == "bin/run" else entry
        for entry in mixed.manifest.entries
    ]
    with pytest.raises(IntegrityError, match="bin/run: has mode"):
        check_manifest(msgspec.structs.replace(mixed.manifest, entries=tuple(entries)))


@pytest.mark.parametrize("kind", ["fifo", "device", "socket"])
def test_a_device_file_is_no_kind_of_entry(mixed: Built, kind: str) -> None:
    mixed.sources.close()
    raw = msgspec.msgpack.decode(mixed.manifest_bytes)
    raw["entries"][0]["kind"] = kind
    with pytest.raises(ProtocolError, match="kind"):
        Manifest.from_bytes(msgspec.msgpack.encode(raw))


def test_a_link_swapped_in_for_a_folder_while_staging_leads_nothing_outside(
    mixed: Built, root: Path, tmp_path: Path
) -> None:
    """Between two steps of staging, ``lib`` becomes a link to a folder of somebody else."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_bytes(b"precious")
    (root / "tree/lib").rmdir()
    (root / "tree/lib").symlink_to(outside)
    with pytest.raises(IntegrityError) as caught:
        stage.finish(root, mixed.manifest)
    assert caught.value.where == "lib"
    assert [(path.name, path.read_bytes()) for path in outside.iterdir()] == [("a", b"precious")]
    assert not stage.is_staged(root)


def test_a_link_swapped_in_for_a_folder_gets_no_reused_bytes(
    mixed: Built, root: Path, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    root.rename(old)
    stage.finish(old, mixed.manifest)
    new.mkdir()
    stage.prepare(new, mixed.manifest)
    outside = tmp_path / "outside"
    outside.mkdir()
    (new / "tree/big").rmdir()
    (new / "tree/big").symlink_to(outside)
    with pytest.raises(IntegrityError):
        local_pieces(
            mixed.manifest,
            mixed.chunk_index,
            [Older(mixed.manifest, mixed.chunk_index, old)],
            new,
        )
    assert list(outside.iterdir()) == []


def test_a_hard_link_into_the_tree_is_not_written_through(
    mixed: Built, root: Path, tmp_path: Path
) -> None:
    """Else the download would overwrite a file of somebody else under its other name."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (root / "tree/big.dat").unlink()
    os.link(precious, root / "tree/big.dat")
    stage.prepare(root, mixed.manifest)
    assert not (root / "tree/big.dat").exists(), "the name is let go of, the file is not touched"
    assert precious.read_bytes() == b"precious"


def test_a_hard_link_to_a_file_of_the_tree_is_found_before_it_is_staged(
    mixed: Built, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever keeps a second name of a file keeps a handle on what a host runs."""
    real = stage._flush

    def link_then_flush(folder: Path) -> None:
        os.link(folder / "tree/big.dat", tmp_path / "second-name")
        real(folder)

    monkeypatch.setattr(stage, "_flush", link_then_flush)
    with pytest.raises(IntegrityError, match=r"big\.dat: is known by 2 names"):
        stage.finish(root, mixed.manifest)
    assert not stage.is_staged(root)


@pytest.mark.parametrize("name", ["extra", "big/extra", "folder/void/extra"])
@pytest.mark.parametrize("kind", ["file", "folder", "link", "fifo", "socket"])
def test_an_extra_file_of_any_kind_is_found(
    mixed: Built, root: Path, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "tree" / name
    if kind == "file":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("service.toml")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        monkeypatch.chdir(path.parent)  # a socket's path is short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    with pytest.raises(IntegrityError, match=f"{name}: is not part of the release"):
        stage.finish(root, mixed.manifest)


@needs_root
def test_a_device_file_in_place_of_a_payload_file_is_refused(mixed: Built, root: Path) -> None:
    (root / "tree/big.dat").unlink()
    os.mknod(root / "tree/big.dat", stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
    with pytest.raises(IntegrityError, match=r"big\.dat: is not a regular file"):
        stage.finish(root, mixed.manifest)


def test_modes_come_from_the_manifest_and_from_nothing_that_lay_there(
    mixed: Built, root: Path
) -> None:
    (root / "tree/big.dat").chmod(0o4777)
    (root / "tree/lib").chmod(0o2777)
    stage.finish(root, mixed.manifest)
    assert stat.S_IMODE((root / "tree/big.dat").stat().st_mode) == 0o444
    assert stat.S_IMODE((root / "tree/bin/run").stat().st_mode) == 0o555
    assert stat.S_IMODE((root / "tree/lib").stat().st_mode) == 0o555
    stage.verify(root, mixed.manifest)
