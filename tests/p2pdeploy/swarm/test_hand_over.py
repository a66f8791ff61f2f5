"""What one torrent hands to the other: bounded, in order, and again when it was lost."""

from __future__ import annotations

from p2pdeploy.swarm.hand_over import BYTES_MAX, GIVE_AGAIN_S, READ_AGAIN_S, HandOver

QUARTER = BYTES_MAX // 4
ALL = (1 << 100) - 1


def test_no_more_is_handed_over_than_fits_until_some_of_it_has_arrived() -> None:
    hand_over = HandOver(QUARTER)
    assert hand_over.due(ALL, 0.0) == [0, 1, 2, 3]
    assert hand_over.is_full
    assert hand_over.due(ALL, 0.1) == []
    assert hand_over.due(ALL & ~0b101, 0.2) == [4, 5]


def test_the_largest_pieces_go_two_at_a_time() -> None:
    assert HandOver(16 * BYTES_MAX).due(ALL, 0.0) == [0, 1]


def test_what_does_not_arrive_is_handed_over_again_later() -> None:
    hand_over = HandOver(QUARTER)
    assert hand_over.due(0b1000, 0.0) == [3]
    assert hand_over.due(0b1000, GIVE_AGAIN_S) == []
    assert hand_over.due(0b1000, GIVE_AGAIN_S + 0.1) == [3]


def test_what_is_not_lacking_any_more_is_forgotten() -> None:
    hand_over = HandOver(QUARTER)
    assert hand_over.due(0b1, 0.0) == [0]
    assert hand_over.due(0, 0.1) == []
    assert hand_over.due(0b1, 0.2) == [0]


def test_what_the_disk_did_not_show_yet_is_read_again_soon() -> None:
    hand_over = HandOver(QUARTER)
    assert hand_over.due(0b1, 1.0) == [0]
    hand_over.note_unread(0, 1.5)
    assert hand_over.due(0b1, 1.5 + READ_AGAIN_S / 2) == []
    assert hand_over.due(0b1, 1.5 + READ_AGAIN_S * 2) == [0]
