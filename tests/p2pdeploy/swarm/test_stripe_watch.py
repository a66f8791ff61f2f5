"""A stripe that does not come is taken over, by few hosts at first, and given back."""

from __future__ import annotations

from p2pdeploy.swarm.stripe_watch import LAGS_WINDOWS, RANK_MAX, SILENT_WINDOWS, StripeWatch
from p2pdeploy.swarm.stripes import ALL_STRIPES, STRIPES, key_of, pieces_of, ranks_of

PIECES = 800
WINDOW_S = 10.0
FIRST = [0] * STRIPES
LAST = [99] * STRIPES


class Group:
    """What comes near a host: so many pieces of each stripe in each window."""

    def __init__(self, piece_bytes: int = 64 * 1024) -> None:
        self.watch = StripeWatch(PIECES, piece_bytes, WINDOW_S, 0.0)
        self.absent = pieces_of(ALL_STRIPES, PIECES)
        self.now = 0.0
        self.watch.note(self.absent, FIRST, self.now)

    def window(self, *came: int, ranks: list[int] = FIRST) -> int:
        """Ends a window; returns the stripes that are taken over then."""
        for stripe, count in enumerate(came):
            left = self.absent & pieces_of(1 << stripe, PIECES)
            for _ in range(count):
                left &= left - 1
            self.absent &= ~pieces_of(1 << stripe, PIECES) | left
        self.now += WINDOW_S
        self.watch.note(self.absent, ranks, self.now)
        return self.watch.taken


def test_nothing_is_taken_over_while_all_stripes_come() -> None:
    group = Group()
    assert [group.window(10, 9, 5, 10, 8, 12, 10, 4) for _ in range(5)] == [0] * 5


def test_a_stripe_that_does_not_come_while_others_do_is_taken_over() -> None:
    assert Group().window(10, 10, 10, 0, 10, 10, 10, 10) == 0b1000


def test_a_stripe_of_which_a_piece_comes_now_and_then_is_taken_over_as_well() -> None:
    assert Group().window(10, 10, 10, 1, 10, 10, 10, 10) == 0b1000


def test_few_pieces_are_no_reason() -> None:
    assert Group().window(1, 2, 0, 3, 0, 1, 0, 2) == 0


def test_every_further_host_waits_as_long_again_and_none_for_ever() -> None:
    lags = (10, 10, 10, 0, 10, 10, 10, 10)
    second, last = Group(), Group()
    assert [second.window(*lags, ranks=[1] * STRIPES) for _ in range(2)] == [0, 0b1000]
    windows = [last.window(*lags, ranks=LAST) for _ in range(RANK_MAX + 1)]
    assert windows == [0] * RANK_MAX + [0b1000]


def test_what_was_taken_over_and_comes_is_given_back_after_a_while() -> None:
    group = Group()
    group.window(10, 10, 10, 0, 10, 10, 10, 10)
    comes = (10,) * STRIPES
    assert [group.window(*comes) for _ in range(LAGS_WINDOWS)] == [0b1000] * (LAGS_WINDOWS - 1) + [
        0
    ]


def test_when_nothing_comes_at_all_everything_is_taken_over_and_soon_given_back() -> None:
    group = Group()
    assert group.window() == ALL_STRIPES
    comes = (10,) * STRIPES
    assert [group.window(*comes) for _ in range(SILENT_WINDOWS)][-1] == 0


def test_a_stripe_whose_pieces_are_all_near_is_nobodys_care() -> None:
    group = Group()
    group.window(10, 10, 10, 0, 10, 10, 10, 10)
    assert group.window(10, 10, 10, 100, 10, 10, 10, 10) == 0
    assert group.window(10, 10, 10, 0, 10, 10, 10, 10) == 0


def test_the_last_stripe_is_measured_by_what_the_others_did() -> None:
    group = Group()
    group.window(*[40] * STRIPES)
    assert group.window(60, 60, 60, 10, 60, 60, 60, 60) == 0b1000
    assert group.window(0, 0, 0, 5) == 0b1000


def test_large_pieces_are_given_the_time_that_one_takes_on_a_slow_link() -> None:
    group = Group(piece_bytes=16 * 1024 * 1024)
    assert [group.window(10, 10, 10, 0, 10, 10, 10, 10) for _ in range(6)] == [0] * 6


def test_all_hosts_of_a_group_have_different_ranks_in_each_stripe() -> None:
    keys = [key_of(f"h{number}") for number in range(5)]
    ranks = [ranks_of(key, [other for other in keys if other != key]) for key in keys]
    for stripe in range(STRIPES):
        assert sorted(of_host[stripe] for of_host in ranks) == [0, 1, 2, 3, 4]
