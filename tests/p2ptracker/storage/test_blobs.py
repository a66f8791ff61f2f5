"""The local blob store: immutable, idempotent, exact ranges."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pdeploy.errors import IntegrityError, NotFoundError
from p2pdeploy.ids import Digest
from p2ptracker.storage.blobs import LocalBlobStore

DIGEST = Digest("ab" * 32)


@pytest.fixture
def store(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "store")


@pytest.fixture
def verified(tmp_path: Path) -> Path:
    path = tmp_path / "verified"
    path.write_bytes(b"0123456789")
    return path


def test_an_adopted_blob_is_read_by_range_and_outlives_its_source(
    store: LocalBlobStore, verified: Path
) -> None:
    store.adopt(DIGEST, verified)
    store.adopt(DIGEST, verified)
    verified.unlink()
    assert store.read(DIGEST, 3, 4) == b"3456"


def test_a_range_beyond_the_end_is_an_error_not_fewer_bytes(
    store: LocalBlobStore, verified: Path
) -> None:
    store.adopt(DIGEST, verified)
    with pytest.raises(IntegrityError):
        store.read(DIGEST, 8, 4)


def test_what_is_not_there_is_named(store: LocalBlobStore) -> None:
    with pytest.raises(NotFoundError, match=DIGEST):
        store.read(DIGEST, 0, 1)
    with pytest.raises(NotFoundError, match="torrent"):
        store.get_object("torrent", DIGEST)


def test_an_object_comes_back_whole(store: LocalBlobStore) -> None:
    for _ in range(2):
        store.put_object("manifest", DIGEST, b"bytes")
    assert store.get_object("manifest", DIGEST) == b"bytes"


def test_an_adopted_blob_replaces_one_that_is_damaged(
    store: LocalBlobStore, verified: Path
) -> None:
    place = store.local_path(DIGEST)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"012")
    assert not store.holds(DIGEST, 10)
    store.adopt(DIGEST, verified)
    assert store.read(DIGEST, 0, 10) == b"0123456789"
    assert store.holds(DIGEST, 10)
    assert [*place.parent.iterdir()] == [place]


def test_a_blob_that_a_kill_left_linked_is_made_durable_before_it_counts(
    store: LocalBlobStore, verified: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row that names it is committed next; a power cut must not take the link back."""
    place = store.local_path(DIGEST)
    place.parent.mkdir(parents=True)
    place.hardlink_to(verified)  # a kill came right after that
    synced: list[Path] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    store.adopt(DIGEST, verified)
    assert {verified, place.parent, place.parent.parent} <= set(synced)
    assert [*place.parent.iterdir()] == [place]


def test_a_kill_in_the_middle_of_taking_in_a_blob_is_in_nobodys_way(
    store: LocalBlobStore, verified: Path
) -> None:
    place = store.local_path(DIGEST)
    place.parent.mkdir(parents=True)
    place.with_name(f"{DIGEST}.new").write_bytes(b"other")
    store.adopt(DIGEST, verified)
    assert store.read(DIGEST, 0, 10) == b"0123456789"
    assert [*place.parent.iterdir()] == [place]
