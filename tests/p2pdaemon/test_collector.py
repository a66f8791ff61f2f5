"""A release goes only when nobody has asked for it for a while."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pdaemon.collector import (
    EVICT_UNASKED_S,
    KEEP_UNASKED_S,
    Collector,
    ReleaseOnDisk,
    victims,
)
from p2pdeploy.ids import Digest, ServiceName

HELLO, OTHER = ServiceName("hello"), ServiceName("other")
A, B, C, D, E, F = (Digest(letter * 64) for letter in "abcdef")
NOTHING: frozenset[Digest] = frozenset()


def test_nothing_goes_right_after_a_start() -> None:
    collector = Collector()
    assert collector.collectable([A, B], in_use=NOTHING, now_s=0) == []
    assert collector.collectable([A, B], in_use=NOTHING, now_s=KEEP_UNASKED_S - 1) == []
    assert collector.collectable([A, B], in_use=NOTHING, now_s=KEEP_UNASKED_S) == [A, B]


def test_what_is_kept_or_in_use_stays_for_ever() -> None:
    collector = Collector()
    collector.keep(HELLO, frozenset({A}))
    for now_s in (0.0, KEEP_UNASKED_S * 9):
        gone = collector.collectable([A, B, C], in_use=frozenset({B}), now_s=now_s)
    assert gone == [C]


def test_asking_again_starts_the_wait_anew() -> None:
    collector = Collector()
    collector.collectable([A], in_use=NOTHING, now_s=0)
    collector.keep(HELLO, frozenset({A}))
    collector.collectable([A], in_use=NOTHING, now_s=KEEP_UNASKED_S - 1)
    collector.keep(HELLO, NOTHING)
    assert collector.collectable([A], in_use=NOTHING, now_s=KEEP_UNASKED_S) == []
    assert collector.collectable([A], in_use=NOTHING, now_s=2 * KEEP_UNASKED_S) == [A]


def test_what_the_core_let_go_of_is_unused_at_once() -> None:
    collector = Collector()
    collector.keep(HELLO, frozenset({A, B}))
    assert collector.unused([A, B], in_use=NOTHING, now_s=0) == []
    collector.keep(HELLO, frozenset({B}))
    assert collector.unused([A, B], in_use=NOTHING, now_s=0) == [A]
    assert collector.unused([A, B], in_use=frozenset({A}), now_s=0) == []


def test_what_was_asked_for_again_is_not_unused() -> None:
    collector = Collector()
    collector.keep(HELLO, frozenset({A}))
    collector.keep(HELLO, NOTHING)
    collector.keep(OTHER, frozenset({A}))
    assert collector.unused([A], in_use=NOTHING, now_s=0) == []


def test_right_after_a_start_nobody_knows_what_is_unused() -> None:
    """The plan that a release was staged for may still be on its way from the cell."""
    collector = Collector()
    assert collector.unused([A], in_use=NOTHING, now_s=5) == []
    assert collector.unused([A], in_use=NOTHING, now_s=4 + EVICT_UNASKED_S) == []
    assert collector.unused([A], in_use=NOTHING, now_s=5 + EVICT_UNASKED_S) == [A]


def test_a_release_that_was_deleted_and_came_back_is_not_taken_for_the_old_one() -> None:
    collector = Collector()
    collector.keep(HELLO, frozenset({A}))
    collector.keep(HELLO, NOTHING)
    assert collector.unused([], in_use=NOTHING, now_s=0) == []
    assert collector.unused([A], in_use=NOTHING, now_s=1) == []


def test_each_release_is_there_for_one_reason() -> None:
    collector = Collector()
    collector.keep(HELLO, frozenset({A, B, C, D}))
    collector.keep(HELLO, frozenset({A, B, C}), rollback=B)
    states = collector.states(
        [A, B, C, D, E, F], active=frozenset({A}), in_use=frozenset({E}), now_s=0
    )
    assert states == {
        A: "active",
        B: "rollback",
        C: "planned",
        D: "unused",
        E: "planned",
        F: "unknown",
    }
    later = collector.states([A, F], active=frozenset({A}), in_use=NOTHING, now_s=EVICT_UNASKED_S)
    assert later == {A: "active", F: "unused"}


def test_what_nobody_goes_back_to_any_more_is_no_rollback() -> None:
    collector = Collector()
    collector.keep(HELLO, frozenset({A, B}), rollback=B)
    collector.keep(HELLO, frozenset({A}))
    states = collector.states([A, B], active=frozenset({A}), in_use=NOTHING, now_s=0)
    assert states == {A: "active", B: "unused"}


DIGESTS = st.sampled_from([Digest(letter * 64) for letter in "abcdef"])


@given(
    words=st.lists(st.tuples(st.sampled_from([HELLO, OTHER]), st.frozensets(DIGESTS)), max_size=8),
    on_disk=st.frozensets(DIGESTS),
    in_use=st.frozensets(DIGESTS),
    now_s=st.floats(0, 2 * KEEP_UNASKED_S),
)
def test_what_any_service_keeps_or_anybody_uses_never_goes(
    words: list[tuple[ServiceName, frozenset[Digest]]],
    on_disk: frozenset[Digest],
    in_use: frozenset[Digest],
    now_s: float,
) -> None:
    """Active, for the way back, or staged by a plan: the core's last word on a service names it."""
    collector = Collector()
    last: dict[ServiceName, frozenset[Digest]] = {}
    for service, digests in words:
        collector.unused(sorted(on_disk), in_use=in_use, now_s=0)
        collector.keep(service, digests)
        last[service] = digests
    kept = in_use.union(*last.values())
    unused = collector.unused(sorted(on_disk), in_use=in_use, now_s=now_s)
    assert not kept & set(unused)
    assert set(unused) <= on_disk
    states = collector.states(sorted(on_disk), active=NOTHING, in_use=in_use, now_s=now_s)
    assert {digest for digest in on_disk if states[digest] == "unused"} == set(unused)
    assert set(collector.collectable(sorted(on_disk), in_use=in_use, now_s=now_s)) <= set(unused)


RELEASES = st.lists(
    st.builds(
        ReleaseOnDisk,
        digest=DIGESTS,
        service=st.just(HELLO),
        size_bytes=st.integers(0, 50),
        staged_at=st.just(0.0),
        used_at=st.floats(0, 9),
    ),
    unique_by=lambda release: release.digest,
)


@given(unused=RELEASES, missing=st.integers(0, 200))
def test_as_few_go_as_make_the_room_and_none_when_all_were_not_enough(
    unused: list[ReleaseOnDisk], missing: int
) -> None:
    chosen = victims(unused, missing)
    if sum(release.size_bytes for release in unused) < missing:
        assert chosen == []
        return
    assert sum(release.size_bytes for release in chosen) >= missing
    assert sum(release.size_bytes for release in chosen[:-1]) < missing or not chosen


@given(unused=RELEASES, missing=st.integers(1, 200))
def test_who_was_used_longest_ago_goes_first(unused: list[ReleaseOnDisk], missing: int) -> None:
    chosen = victims(unused, missing)
    spared = [release.used_at for release in unused if release not in chosen]
    if chosen and spared:
        assert max(release.used_at for release in chosen) <= min(spared)
