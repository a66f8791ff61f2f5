"""Unfinished uploads: a share for each publisher, and what gives way."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from p2pdeploy.errors import UnavailableError
from p2pdeploy.payload.build import Built
from p2ptracker.registry import upload_shares
from p2ptracker.registry.upload_shares import (
    IDLE_S,
    INDEX_OF_ONE_BYTES_MAX,
    UPLOAD_LIFETIME_S,
    UPLOADS_MAX,
    UPLOADS_OF_ONE_MAX,
    Lying,
    Owner,
    has_lapsed,
    who_gives_way,
)
from tests.p2ptracker.operators.asking import revoke
from tests.p2ptracker.tracker_bench import Client, Tracker, code_of, open_http
from tests.trust_folder import operator_files

NOW = 1_000_000.0
ANN = Owner(who="spiffe://lab/operator/ann", serial="A1")
BOB = Owner(who="spiffe://lab/operator/bob", serial="B1")


def lying(number: int, owner: Owner | None = ANN, *, idle_s: float = 0.0, **more) -> Lying:
    return Lying(
        **{
            "folder": Path(f"{number}"),
            "owner": owner,
            "index_bytes": 1_000,
            "heard_at": NOW - idle_s,
            **more,
        }
    )


def test_who_has_its_share_begins_no_more_and_others_do() -> None:
    others = [lying(number) for number in range(UPLOADS_OF_ONE_MAX)]
    with pytest.raises(UnavailableError) as caught:
        who_gives_way(others, ANN, 1_000, NOW)
    assert caught.value.code == "too-many-uploads"
    assert who_gives_way(others, BOB, 1_000, NOW) == []


def test_the_oldest_that_its_owner_left_alone_gives_way() -> None:
    others = [lying(number) for number in range(UPLOADS_OF_ONE_MAX - 3)]
    others += [lying(20, idle_s=IDLE_S + 1), lying(21, idle_s=IDLE_S + 9)]
    others += [lying(22, idle_s=IDLE_S + 99, is_busy=True), lying(23, BOB, idle_s=IDLE_S + 999)]
    (gone,) = who_gives_way(others, ANN, 1_000, NOW)
    assert gone.folder == Path("21")


def test_manifests_and_indexes_of_one_publisher_are_bounded_together() -> None:
    large = lying(1, index_bytes=INDEX_OF_ONE_BYTES_MAX, idle_s=IDLE_S + 1)
    assert who_gives_way([large], ANN, 1_000, NOW) == [large]
    assert who_gives_way([large], BOB, INDEX_OF_ONE_BYTES_MAX, NOW) == []
    with pytest.raises(UnavailableError):
        who_gives_way([lying(1, index_bytes=INDEX_OF_ONE_BYTES_MAX)], ANN, 1_000, NOW)


def test_uploads_are_bounded_in_all_as_well() -> None:
    others = [
        lying(number, Owner(who=f"p{number % 5}", serial="1")) for number in range(UPLOADS_MAX)
    ]
    with pytest.raises(UnavailableError):
        who_gives_way(others, ANN, 1_000, NOW)
    assert who_gives_way(others[1:], ANN, 1_000, NOW) == []


def test_what_nobody_is_known_to_have_begun_lapses_in_time() -> None:
    assert has_lapsed(lying(1, None, idle_s=UPLOAD_LIFETIME_S + 1), NOW)
    assert not has_lapsed(lying(1, None, idle_s=UPLOAD_LIFETIME_S - 1), NOW)


class Publishers:
    """Two who may publish the same service."""

    def __init__(self, tracker: Tracker, ann: Client, bob: Client) -> None:
        self.tracker, self.ann, self.bob = tracker, ann, bob

    def place(self, built: Built) -> Path:
        return self.tracker.folder / "tracker" / "uploads" / built.manifest_digest


@pytest.fixture
async def publishers(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Publishers]:
    monkeypatch.setattr(upload_shares, "UPLOADS_OF_ONE_MAX", 2)
    async with AsyncExitStack() as stack:
        clients = list[Client]()
        for name in ("ann", "bob"):
            files = operator_files(tracker.folder, name, "publisher:hello")
            http = await stack.enter_async_context(open_http(files, tracker.ports.api))
            clients.append(Client(files, http))
        yield Publishers(tracker, *clients)


@pytest.fixture
def small(payload: Callable[..., Built]) -> Callable[[int], Built]:
    return lambda seed: payload(seed, large_bytes=1_000)


async def test_a_publisher_that_finishes_nothing_keeps_no_other_out(
    publishers: Publishers, small: Callable[[int], Built]
) -> None:
    ann, bob = publishers.ann, publishers.bob
    for number in range(2):
        await ann.begun(f"{number}", small(number))
    assert code_of(await ann.begin("2", small(2))) == (503, "too-many-uploads")
    assert (await ann.begin("1", small(1))).status_code == 200, "going on with one is none more"
    await bob.begun("3", small(3))
    long_ago = time.time() - IDLE_S - 9
    os.utime(publishers.place(small(0)) / "journal", (long_ago, long_ago))
    await ann.begun("2", small(2))
    assert [publishers.place(small(n)).exists() for n in range(4)] == [False, True, True, True]
    assert (await publishers.tracker.publish("3", small(3))).status_code == 200


async def test_what_a_revoked_publisher_began_is_dropped_unless_another_went_on_with_it(
    publishers: Publishers, small: Callable[[int], Built]
) -> None:
    ann, bob = publishers.ann, publishers.bob
    for number in range(2):
        await ann.begun(f"{number}", small(number))
    serial = msgspec.json.decode((publishers.place(small(0)) / "owner").read_bytes())["serial"]
    assert code_of(await revoke(publishers.tracker.http, serial=serial)) == (200, "")
    await bob.begun("1", small(1))
    await bob.begun("2", small(2))
    assert [publishers.place(small(n)).exists() for n in range(3)] == [False, True, True]


async def test_the_share_outlives_a_restart(
    fleet_dir: Path, started, small: Callable[[int], Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_shares, "UPLOADS_OF_ONE_MAX", 2)
    async with started(fleet_dir) as tracker:
        for number in range(2):
            await tracker.begun(f"{number}", small(number))
    async with started(fleet_dir) as tracker:
        assert code_of(await tracker.begin("2", small(2))) == (503, "too-many-uploads")
        assert (await tracker.publish("1", small(1))).status_code == 200
        await tracker.begun("2", small(2))
