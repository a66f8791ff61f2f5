"""A staged tree is exactly the published one, read-only, and nothing but it is touched."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from p2pdeploy.errors import IntegrityError
from p2pdeploy.ids import ServiceName
from p2pdeploy.manifest import Entry, Manifest, digest_of
from p2pdeploy.payload import stage
from p2pdeploy.payload.build import Built, build
from p2pdeploy.payload.check import check_manifest
from p2pdeploy.payload.layout import piece_size_for
from p2pdeploy.payload.walk import walk


def download(built: Built, root: Path) -> None:
    """Put every blob where the mesh would put it."""
    root.mkdir(exist_ok=True)
    stage.prepare(root, built.manifest)
    for number, blob in enumerate(built.manifest.blobs):
        data = built.sources.pread(number, 0, blob.size_bytes)
        stage.blob_path(root, built.manifest, number).write_bytes(data)
    built.sources.close()


@pytest.fixture
def root(mixed: Built, tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    download(mixed, folder)
    return folder


def snapshot(tree: Path) -> dict[str, tuple[str, int, str, bytes]]:
    return {
        found.path: (
            found.kind,
            found.mode & 0o555,
            found.target,
            (tree / found.path).read_bytes() if found.kind == "file" else b"",
        )
        for found in walk(tree)
    }


def test_the_staged_tree_is_the_published_one_and_read_only(
    mixed: Built, root: Path, tmp_path: Path
) -> None:
    assert not stage.is_staged(root)
    stage.finish(root, mixed.manifest)
    assert stage.is_staged(root)
    assert snapshot(root / "tree") == snapshot(tmp_path / "payload")
    for path in [root / "tree", *(root / "tree").rglob("*")]:
        assert path.is_symlink() or not path.stat().st_mode & 0o222, path


def test_finishing_twice_changes_nothing(mixed: Built, root: Path) -> None:
    stage.finish(root, mixed.manifest)
    before = (root / "staged").stat().st_mtime_ns
    stage.finish(root, mixed.manifest)
    assert (root / "staged").stat().st_mtime_ns == before


class Crash(Exception):
    pass


CRASH_POINTS = [
    *(("Folders.write", 0), ("Folders.write", 2), ("Folders.link", 0), ("Folders.set_mode", 0)),
    *(("Folders.set_mode", 5), ("Folders.set_mode", 8), ("_flush", 0), ("_write_marker", 0)),
]


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of a user whom permissions bind; the test runs as that user."""
    nobody = 65534
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if is_root:
            os.chown(folder, nobody, nobody)
            os.seteuid(nobody)
        try:
            yield folder
        finally:
            for release in folder.iterdir():
                stage.remove(release)
            if is_root:
                os.seteuid(0)


@pytest.mark.parametrize(("where", "calls_before"), CRASH_POINTS)
def test_a_crash_is_repaired_by_finishing_again(
    where: str, calls_before: int, mixed: Built, unprivileged: Path, monkeypatch
) -> None:
    euid = os.geteuid()
    if euid == 65534:
        os.seteuid(0)  # the published tree is root's
    blobs = [
        mixed.sources.pread(number, 0, blob.size_bytes)
        for number, blob in enumerate(mixed.manifest.blobs)
    ]
    mixed.sources.close()
    os.seteuid(euid)
    root = unprivileged / "release"
    root.mkdir()
    stage.prepare(root, mixed.manifest)
    for number, data in enumerate(blobs):
        stage.blob_path(root, mixed.manifest, number).write_bytes(data)
    owner, _, name = where.rpartition(".")
    target = getattr(stage, owner) if owner else stage
    real, left = getattr(target, name), [calls_before]

    def crash(*args: object) -> object:
        if left[0] == 0:
            raise Crash
        left[0] -= 1
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(target, name, crash)
        with pytest.raises(Crash):
            stage.finish(root, mixed.manifest)
    assert not stage.is_staged(root)
    stage.prepare(root, mixed.manifest)
    with stage.blob_path(root, mixed.manifest, 1).open("r+b"):
        pass  # downloading can go on
    stage.finish(root, mixed.manifest)
    assert stage.is_staged(root)
    assert (root / "tree/lib/a").read_bytes()


@pytest.mark.parametrize(
    ("path", "damage"),
    [
        *product(["tree/big.dat", "tree/big/model.bin"], ["flip", "cut", "grow", "missing"]),
        *product(["packs/pack-0000"], ["flip", "cut", "missing"]),
    ],
)
def test_a_wrong_byte_is_found_and_named(mixed: Built, root: Path, path: str, damage: str) -> None:
    data = (root / path).read_bytes()
    changed = {"flip": data[:-1] + bytes([data[-1] ^ 1]), "cut": data[:-1], "grow": data + b"x"}
    if damage == "missing":
        (root / path).unlink()
    else:
        (root / path).write_bytes(changed[damage])
    with pytest.raises(IntegrityError) as caught:
        stage.finish(root, mixed.manifest)
    named = {"packs/pack-0000": ("service.toml", path)}
    assert caught.value.where in named.get(path, (path.removeprefix("tree/"),))
    assert not stage.is_staged(root)
    stage.prepare(root, mixed.manifest)
    (root / path).write_bytes(data)
    stage.finish(root, mixed.manifest)
    assert stage.is_staged(root)


@pytest.mark.parametrize("extra", ["extra", "big/extra", "folder/void/extra"])
def test_a_path_too_many_is_refused(mixed: Built, root: Path, extra: str) -> None:
    (root / "tree" / extra).write_bytes(b"")
    with pytest.raises(IntegrityError, match=f"{extra}: is not part of the release"):
        stage.finish(root, mixed.manifest)
    assert not stage.is_staged(root)


@pytest.mark.parametrize("path", ["big", "lib", "bin", "big.dat", "lib/a"])
def test_a_link_in_the_way_is_never_followed(mixed: Built, root: Path, path: str) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "model.bin").write_bytes((root / "tree/big/model.bin").read_bytes())
    before = snapshot(outside)
    planted = root / "tree" / path
    if planted.is_dir():
        for file in planted.iterdir():
            file.unlink()
        planted.rmdir()
    planted.unlink(missing_ok=True)
    planted.symlink_to(outside)
    try:
        stage.finish(root, mixed.manifest)
    except IntegrityError:
        assert not stage.is_staged(root)
    else:
        assert path == "lib/a", "a packed file takes the place of a link"
        assert stat.S_ISREG(planted.lstat().st_mode)
    assert snapshot(outside) == before


def test_removing_leaves_nothing_and_may_be_repeated(mixed: Built, root: Path) -> None:
    stage.finish(root, mixed.manifest)
    stage.remove(root)
    assert not root.exists()
    stage.remove(root)


FOLDERS = ["a", "a/b", "a/b/c"]
# Climb, go somewhere (through links, when they exist), climb again.
targets = st.builds(
    lambda first, route, then: "/".join([*[".."] * first, route, *[".."] * then]),
    st.sampled_from([0, 0, 1, 3, 3, 4]),
    st.sampled_from(["l", "m", ".", "a/b/c/l"]),
    st.sampled_from([0, 0, 1, 2]),
)
paths = st.sampled_from(["l", "m", "a/m", "a/b/c/l", "a/b/c/m", "a/l/m", "../m", ".p2pdeploy"])


def tree_of(links: dict[str, str]) -> Manifest:
    """Three folders, and links that may stand and lead anywhere."""
    entries = [Entry(path="service.toml", digest=digest_of(b""))]
    entries += [Entry(path=path, kind="dir", mode=0o755) for path in FOLDERS]
    for path, target in links.items():
        entries.append(Entry(path=path, kind="link", mode=0o777, target=target))
    return Manifest(
        service=ServiceName("hello"),
        piece_size_bytes=piece_size_for(0),
        entries=tuple(sorted(entries, key=lambda e: e.path.split("/"))),
        blobs=(),
        chunk_index=digest_of(b""),
        chunk_index_bytes=1,
    )


def passes(manifest: Manifest) -> bool:
    try:
        check_manifest(manifest)
    except IntegrityError:
        return False
    return True


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@example({"a/b/c/l": "../../..", "a/b/c/m": "l/.."})
@example({"m": "m//a"})
@given(st.dictionaries(paths, targets, min_size=3, max_size=6))
def test_no_links_that_pass_the_check_lead_outside_together(links: dict[str, str]) -> None:
    """Outwards, in circles, over each other: each is judged alone and then staged with the rest."""
    manifest = tree_of({p: t for p, t in links.items() if passes(tree_of({p: t}))})
    check_manifest(manifest)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "_flush", lambda root: None)  # 150 flushes of a disk are slow
        patch.setattr(os, "fsync", lambda handle: None)
        root = Path(name) / "around" / "release"
        root.mkdir(parents=True)
        stage.finish(root, manifest)
        assert os.listdir(name) == ["around"]
        assert os.listdir(root.parent) == ["release"]
        inside = os.path.realpath(root / "tree")
        for path in (root / "tree").rglob("*"):
            real = os.path.realpath(path)
            assert real == inside or real.startswith(f"{inside}/"), path
        stage.remove(root)


def test_building_the_staged_tree_again_finds_the_same_files(mixed: Built, root: Path) -> None:
    stage.finish(root, mixed.manifest)
    again = build(root / "tree", ServiceName("hello"))
    assert again.manifest.blobs == mixed.manifest.blobs
    assert again.chunk_index == mixed.chunk_index
