"""A release goes only when nobody has asked for it for a while."""

from __future__ import annotations

from p2pdaemon.collector import KEEP_UNASKED_S, Collector
from p2pdeploy.ids import Digest, ServiceName

HELLO = ServiceName("hello")
A, B, C = (Digest(letter * 64) for letter in "abc")
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
