"""Bytes that the registry's disk has lost come back by publishing the release again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from p2pdeploy.payload.build import Built
from tests.p2ptracker.tracker_bench import code_of

Payload = Callable[..., Built]


def truncate(blob: Path) -> None:
    with blob.open("r+b") as file:
        file.truncate(100)


@pytest.mark.parametrize("lose", [Path.unlink, truncate])
async def test_a_lost_blob_comes_back_when_its_release_is_published_again(
    tracker, payload: Payload, lose: Callable[[Path], None]
) -> None:
    built = payload()
    assert (await tracker.publish("1.0.0", built)).status_code == 200
    largest = max(built.manifest.blobs, key=lambda blob: blob.size_bytes)
    blob = tracker.plane.store.local_path(largest.digest)
    whole = blob.read_bytes()
    lose(blob)
    begun = await tracker.begun("1.0.0", built)
    assert begun.state == "uploading"
    assert begun.missing, "the lost bytes are no place to copy chunks from"
    assert code_of(await tracker.commit("1.0.0", built)) == (409, "chunks-missing")
    await tracker.upload(begun, built)
    assert (await tracker.commit("1.0.0", built)).status_code == 200
    assert blob.read_bytes() == whole
    assert (await tracker.begun("1.0.0", built)).state == "published"


async def test_a_lost_blob_comes_back_with_the_next_version_that_has_it(
    tracker, payload: Payload
) -> None:
    built = payload()
    assert (await tracker.publish("1.0.0", built)).status_code == 200
    blobs = [tracker.plane.store.local_path(blob.digest) for blob in built.manifest.blobs]
    for blob in blobs:
        blob.unlink()
    assert (await tracker.publish("1.0.1", built)).status_code == 200
    assert all(blob.exists() for blob in blobs)
