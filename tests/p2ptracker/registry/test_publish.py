"""Publishing against a real server: exactly once, and nothing is sent that is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from p2pdeploy import bencode
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.api import ReleaseView
from p2pdeploy.payload.build import Built
from tests.p2ptracker.tracker_bench import code_of

Payload = Callable[..., Built]


async def test_a_published_release_is_served_whole(tracker, payload: Payload) -> None:
    built = payload()
    answer = await tracker.publish("1.0.0", built)
    assert answer.status_code == 200, answer.text
    view = msgspec.json.decode(answer.content, type=ReleaseView)
    assert view.manifest_digest == built.manifest_digest
    assert view.size_bytes == built.manifest.size_bytes
    assert view.file_count == 8
    shown = await tracker.http.get("/v1/releases/hello/1.0.0")
    signed = msgspec.structs.replace(view, state="signed")
    assert msgspec.json.decode(shown.content, type=ReleaseView) == signed
    manifest = await tracker.http.get(f"/v1/manifests/{view.manifest_digest}")
    assert manifest.content == built.manifest_bytes
    chunks = await tracker.http.get(f"/v1/manifests/{view.manifest_digest}/chunks")
    assert chunks.content == built.chunk_index_bytes
    torrent = await tracker.http.get(view.torrent_path)
    info = bencode.decode(torrent.content, bytes_max=10**6)[b"info"]
    assert info[b"name"].decode() == view.manifest_digest
    for index, blob in enumerate(built.manifest.blobs):
        stored = tracker.plane.store.read(blob.digest, 0, blob.size_bytes)
        assert stored == built.sources.pread(index, 0, blob.size_bytes)


async def test_the_same_bytes_again_need_nothing(tracker, payload: Payload) -> None:
    built = payload()
    await tracker.publish("1.0.0", built)
    begun = await tracker.begun("1.0.0", built)
    assert begun.state == "published"
    assert (await tracker.commit("1.0.0", built)).status_code == 200


async def test_other_bytes_under_the_version_are_refused_and_change_nothing(
    tracker, payload: Payload
) -> None:
    await tracker.publish("1.0.0", payload(1))
    other = payload(2)
    assert code_of(await tracker.begin("1.0.0", other)) == (409, "version-exists")
    assert code_of(await tracker.commit("1.0.0", other)) == (409, "version-exists")
    shown = (await tracker.http.get("/v1/releases/hello/1.0.0")).json()
    assert shown["manifest_digest"] == payload(1).manifest_digest


async def test_the_same_bytes_under_a_new_version_send_nothing(tracker, payload: Payload) -> None:
    built = payload()
    await tracker.publish("1.0.0", built)
    begun = await tracker.begun("1.0.1", built)
    assert (begun.state, begun.missing) == ("uploading", [])
    assert (await tracker.commit("1.0.1", built)).status_code == 200


async def test_only_chunks_that_changed_are_asked_for(tracker, payload: Payload) -> None:
    await tracker.publish("1.0.0", payload(1))
    changed = payload(1, extra=b"inserted")
    begun = await tracker.begun("1.1.0", changed)
    missing = sum(count for _, count in begun.missing)
    total = sum(len(blob.sizes_bytes) for blob in changed.chunk_index.blobs)
    assert 0 < missing <= 3 < total
    assert (await tracker.publish("1.1.0", changed)).status_code == 200
    blob = changed.manifest.blobs[-1]
    stored = tracker.plane.store.read(blob.digest, 0, blob.size_bytes)
    assert digest_of(stored) == blob.digest


async def test_a_chunk_that_occurs_twice_is_sent_once(tracker, tmp_path: Path, payload) -> None:
    payload(1)
    tree = tmp_path / "payloads" / "1-0"
    (tree / "twin.bin").write_bytes((tree / "data.bin").read_bytes() + b"tail" * 300_000)
    built = payload(1)
    begun = await tracker.begun("1.0.0", built)
    ack = await tracker.upload(begun, built)
    assert ack.durable_bytes < built.manifest.size_bytes - 1_000_000
    assert (await tracker.commit("1.0.0", built)).status_code == 200


async def test_two_identical_large_files_are_one_blob(tracker, tmp_path: Path, payload) -> None:
    payload(1)
    tree = tmp_path / "payloads" / "1-0"
    (tree / "twin.bin").write_bytes((tree / "data.bin").read_bytes())
    assert (await tracker.publish("1.0.0", payload(1))).status_code == 200


async def test_a_payload_of_another_service_is_refused(tracker, payload: Payload) -> None:
    answer = await tracker.begin("1.0.0", payload(), service="other")
    assert code_of(answer) == (409, "other-service")


async def test_illegal_names_are_refused(tracker, payload: Payload) -> None:
    built = payload()
    for service, version in (("Hello", "1"), ("-x", "1"), ("hello", "1 0"), ("hello", "-1")):
        answer = await tracker.begin(version, built, service=service)
        assert answer.status_code == 409, answer.text
        assert answer.json()["error"]["code"] in ("bad-service-name", "bad-version")
    for climbing in ("..", "a%2Fb"):
        assert (await tracker.begin("1", built, service=climbing)).status_code in (404, 405, 409)


async def test_one_of_two_concurrent_publishes_of_other_bytes_wins(
    tracker, payload: Payload
) -> None:
    builds = [payload(1), payload(2)]
    for built in builds:
        await tracker.upload(await tracker.begun("1.0.0", built), built)
    answers = await all_at_once([lambda b=b: tracker.commit("1.0.0", b) for b in builds])
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert (await tracker.http.get("/v1/releases/hello")).json()[0]["manifest_digest"] == next(
        answer.json()["manifest_digest"] for answer in answers if answer.status_code == 200
    )


async def test_concurrent_publishes_of_the_same_bytes_all_succeed(
    tracker, payload: Payload
) -> None:
    built = payload()
    answers = await all_at_once([lambda: tracker.publish("1.0.0", payload()) for _ in range(3)])
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert {answer.json()["manifest_digest"] for answer in answers} == {built.manifest_digest}


async def all_at_once(calls: list) -> list:
    answers: list = []

    async def run(call) -> None:
        answers.append(await call())

    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(run, call)
    return answers
