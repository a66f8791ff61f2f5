"""Two releases never count on the same room, and the reserve is nobody's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pdaemon.reservations import Reservations
from p2pdeploy.ids import Digest

A, B = (Digest(letter * 64) for letter in "ab")


def test_two_releases_never_count_on_the_same_room() -> None:
    books = Reservations()
    assert books.hold(A, 60, free_bytes=100, reserve_bytes=10) == 0
    assert books.hold(B, 60, free_bytes=100, reserve_bytes=10) == 30
    assert books.held_bytes == 60
    books.let_go(A)
    assert books.hold(B, 60, free_bytes=100, reserve_bytes=10) == 0


def test_a_release_that_comes_again_is_not_in_its_own_way() -> None:
    books = Reservations()
    books.hold(A, 90, free_bytes=100, reserve_bytes=10)
    assert books.missing_bytes(A, 90, free_bytes=100, reserve_bytes=10) == 0
    assert books.missing_bytes(B, 1, free_bytes=100, reserve_bytes=10) == 1


def test_what_the_disk_has_allocated_is_counted_once() -> None:
    books = Reservations()
    books.hold(A, 60, free_bytes=100, reserve_bytes=0)
    books.shrink(A, 20)  # 40 were allocated: the disk says 60 are free now
    assert books.missing_bytes(B, 40, free_bytes=60, reserve_bytes=0) == 0
    assert books.missing_bytes(B, 41, free_bytes=60, reserve_bytes=0) == 1


def test_a_release_never_holds_more_than_it_was_given() -> None:
    books = Reservations()
    books.hold(A, 60, free_bytes=100, reserve_bytes=0)
    books.shrink(A, 90)
    assert books.held_bytes == 60
    books.shrink(A, -1)
    assert books.held_bytes == 0


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["hold", "write", "let go"]),
            st.integers(0, 4),
            st.integers(0, 400),
        ),
        max_size=60,
    )
)
def test_whoever_holds_room_can_write_all_of_it_and_the_reserve_stays(
    steps: list[tuple[str, int, int]],
) -> None:
    """A disk on which releases write what they hold, in any order, and let go at any time."""
    books, free, reserve = Reservations(), 1_000, 100
    left: dict[Digest, int] = {}
    for step, who, size in steps:
        digest = Digest(str(who) * 64)
        if step == "hold" and digest not in left:
            missing = books.hold(digest, size, free_bytes=free, reserve_bytes=reserve)
            assert (missing == 0) == (sum(left.values()) + size <= free - reserve)
            if not missing:
                left[digest] = size
        elif step == "write" and digest in left:
            written = min(size, left[digest])
            free -= written
            left[digest] -= written
            books.shrink(digest, left[digest])
        elif step == "let go":
            books.let_go(digest)
            left.pop(digest, None)
        assert books.held_bytes == sum(left.values())
        assert free - books.held_bytes >= reserve
