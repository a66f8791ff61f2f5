"""The queue tells the urgent first, each rumour so often, and stays inside its bounds."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.codec import encode
from p2pdeploy.gossip import dissemination
from p2pdeploy.gossip.dissemination import INLINE_BYTES_MAX, RumourQueue, rumour_of
from p2pdeploy.messages.gossip import Have, Item, MemberRumour, Rumour, Status
from p2pdeploy.testing.gossip_world import a_member


def item(key: str, seq: int = 1, size: int = 20) -> Item:
    return Item(key, (1, seq), b"x" * size)


def told(number: int, status: Status = Status.ALIVE) -> MemberRumour:
    return MemberRumour(msgspec.structs.replace(a_member(number), status=status))


def test_abort_then_go_then_orders_alive_suspect_attestations() -> None:
    queue = RumourQueue()
    expected: list[Rumour] = [
        item("abort/web"),
        item("go"),
        item("plan/web"),
        told(2),
        told(3, Status.SUSPECT),
        item("att/web/h1"),
    ]
    for rumour in reversed(expected):
        queue.push(rumour)
    assert list(queue.take(10_000, 8)) == expected


def test_what_was_told_least_often_goes_first_and_the_newest_among_equals() -> None:
    queue = RumourQueue()
    first, second, third = item("att/web/h1"), item("att/web/h2"), item("att/web/h3")
    queue.push(first)
    assert queue.take(10_000, 8) == (first,)
    queue.push(second)
    queue.push(third)
    assert queue.take(10_000, 8) == (third, second, first)


def test_each_rumour_leaves_just_so_often() -> None:
    queue = RumourQueue()
    queue.push(item("go"))
    assert [len(queue.take(10_000, 4)) for _ in range(6)] == [1, 1, 1, 1, 0, 0]
    assert len(queue) == 0


def test_the_newer_rumour_replaces_the_older_of_the_same_subject() -> None:
    queue = RumourQueue()
    queue.push(told(2, Status.SUSPECT))
    queue.push(item("att/web/h1", 1))
    queue.push(told(2))
    queue.push(Have("att/web/h1", (1, 2)))
    assert queue.take(10_000, 8) == (told(2), Have("att/web/h1", (1, 2)))


def test_an_item_too_large_for_a_datagram_is_announced() -> None:
    large = item("roster/web", size=INLINE_BYTES_MAX)
    assert rumour_of(large) == Have("roster/web", (1, 1))
    assert rumour_of(item("go")) == item("go")


def test_a_full_queue_gives_up_the_least_urgent() -> None:
    queue = RumourQueue()
    queue.push(item("abort/web"))
    for n in range(dissemination.RUMOURS_MAX + 10):
        queue.push(item(f"att/web/h{n}"))
    assert len(queue) == dissemination.RUMOURS_MAX
    assert queue.take(10_000, 8)[0] == item("abort/web")


@given(st.lists(st.integers(1, 900), max_size=40), st.integers(0, 1_400))
def test_what_is_taken_fits_the_room(sizes: list[int], room: int) -> None:
    queue = RumourQueue()
    for n, size in enumerate(sizes):
        queue.push(item(f"att/web/h{n}", size=size))
    taken = queue.take(room, 8)
    assert sum(len(encode(rumour)) for rumour in taken) <= room
    assert len(queue) == len(sizes)
