"""The dealer's rules, each as a trace of requests and replies."""

from __future__ import annotations

import pytest

from p2pdeploy.errors import ProtocolError, UnavailableError
from p2pdeploy.ids import CellId, Digest, HostName
from p2pdeploy.messages.deal import (
    DEAL_PIECES_MAX,
    MISSING_MAX,
    AllDealt,
    Deal,
    DealReply,
    DealRequest,
    HolderHint,
    WaitDeal,
    bitmap_of,
)
from p2pdeploy.swarm.deal import Dealer
from p2pdeploy.swarm.deal_terms import (
    TAKE_BACKS_MAX,
    UPLINK_BYTES_PER_S_MIN,
    WAIT_MAX_S,
    DealConfig,
)
from p2pdeploy.swarm.heard_hosts import DEALER_HOSTS_MAX
from p2pdeploy.swarm.stripes import ALL_STRIPES
from p2pdeploy.swarm.turns import AT_ONCE_FIRST, AT_ONCE_MIN

PIECE_BYTES = 65_536


class Table:
    """A dealer of *count* pieces and a short way to ask it."""

    def __init__(self, count: int, config: DealConfig | None = None) -> None:
        self.count = count
        self.dealer = Dealer([PIECE_BYTES] * count, config)

    def ask(
        self,
        host: str,
        now: float,
        have: tuple[int, ...] = (),
        *,
        missing: tuple[int, ...] = (),
        dropped: tuple[int, ...] = (),
        fresh: bool = False,
        completed: bool = False,
        paused: bool = False,
        stripes: int = ALL_STRIPES,
    ) -> DealReply:
        return self.dealer.handle(
            DealRequest(
                cell=CellId("lab.web.c0"),
                manifest_digest=Digest("00" * 32),
                host=HostName(host),
                have=bitmap_of([piece in have for piece in range(self.count)]),
                missing=missing,
                dropped=dropped,
                fresh=fresh,
                completed=completed,
                paused=paused,
                stripes=stripes,
            ),
            now,
        )


def piece_of(reply: DealReply) -> int:
    """The piece of a deal of one."""
    [piece] = pieces_of(reply)
    return piece


def pieces_of(reply: DealReply) -> list[int]:
    assert isinstance(reply, Deal), reply
    assert reply.size_bytes == PIECE_BYTES * len(reply.pieces)
    return [dealt.piece for dealt in reply.pieces]


def test_hosts_are_dealt_different_pieces_in_number_order():
    table = Table(4)
    drawn = [piece_of(table.ask(host, 0.0)) for host in ("a", "b", "a", "b")]
    assert drawn == [0, 1, 2, 3]
    assert isinstance(table.ask("c", 0.1), WaitDeal)


def test_a_host_has_at_most_the_configured_deals_in_flight():
    table = Table(9, DealConfig(deals_in_flight=2))
    assert [piece_of(table.ask("a", 0.0)) for _ in range(2)] == [0, 1]
    assert isinstance(table.ask("a", 0.1), WaitDeal)
    assert piece_of(table.ask("a", 0.2, (0,))) == 2


def test_a_piece_that_somebody_reports_is_never_dealt():
    table = Table(3)
    assert piece_of(table.ask("a", 0.0, (0, 1))) == 2
    assert isinstance(table.ask("b", 0.0), WaitDeal)


def test_an_unconfirmed_deal_is_dealt_again_after_four_times_the_hosts_own_time():
    table = Table(2)
    assert piece_of(table.ask("a", 0.0)) == 0
    assert piece_of(table.ask("a", 1.0, (0,))) == 1
    assert isinstance(table.ask("b", 4.9), WaitDeal)
    assert piece_of(table.ask("b", 5.0)) == 1
    assert table.dealer.statistics().redeals == 1


def test_a_deal_times_out_after_two_seconds_at_the_earliest():
    table = Table(2)
    assert piece_of(table.ask("a", 0.0)) == 0
    assert piece_of(table.ask("a", 0.01, (0,))) == 1
    assert isinstance(table.ask("b", 1.9), WaitDeal)
    assert piece_of(table.ask("b", 2.1)) == 1


def test_a_hosts_first_deal_has_ten_seconds_and_what_its_bytes_take_at_the_slowest():
    table = Table(1)
    assert piece_of(table.ask("a", 0.0)) == 0
    assert isinstance(table.ask("b", 10.0), WaitDeal)
    assert piece_of(table.ask("b", 10.0 + PIECE_BYTES / UPLINK_BYTES_PER_S_MIN)) == 0


def test_first_deals_of_large_pieces_have_the_longer_the_more_are_on_their_way():
    config = DealConfig()
    alone_s = config.timeout_s(0.0, 0.0, 8 * 1024 * 1024)
    assert alone_s == 10.0 + 8 * 1024 * 1024 / UPLINK_BYTES_PER_S_MIN
    assert config.timeout_s(0.0, 0.0, 16 * 1024 * 1024) > alone_s
    assert config.timeout_s(0.0, 0.0, 1024 * 1024 * 1024) == config.timeout_max_s


def test_small_pieces_go_out_several_at_a_time_once_a_host_has_shown_that_it_takes_them():
    table = Table(1_000, DealConfig(deal_bytes=2 * PIECE_BYTES))
    assert pieces_of(table.ask("a", 0.0)) == [0]
    assert pieces_of(table.ask("a", 0.6, (0,))) == [1, 2]
    assert pieces_of(table.ask("a", 1.2, (0, 1, 2))) == [3, 4]


def test_a_host_whose_deals_are_quick_is_dealt_up_to_twice_as_much_the_next_time():
    table = Table(1_000)
    assert pieces_of(table.ask("a", 0.0)) == [0]
    assert pieces_of(table.ask("a", 0.1, (0,))) == [1, 2]
    assert pieces_of(table.ask("a", 0.4, (0, 1, 2))) == [3, 4], "0.3 s are near enough to 0.4 s"
    have = 5
    for now in (0.5, 0.6, 0.7, 0.8):
        have += len(pieces_of(table.ask("a", now, tuple(range(have)))))
    assert have == 5 + 4 + 8 + DEAL_PIECES_MAX * 2


def test_a_host_whose_deals_get_slow_is_dealt_less_again():
    table = Table(1_000)
    have, now = 0, 0.0
    for _ in range(6):
        have += len(pieces_of(table.ask("a", now, tuple(range(have)))))
        now += 0.1
    assert len(pieces_of(table.ask("a", now + 5.0, tuple(range(have))))) == 1


def test_large_pieces_go_out_one_at_a_time():
    table = Table(1_000, DealConfig(deal_bytes=PIECE_BYTES // 16))
    assert pieces_of(table.ask("a", 0.0)) == [0]
    assert pieces_of(table.ask("a", 0.1, (0,))) == [1]


def test_the_last_pieces_are_shared_out_among_all_who_draw():
    table = Table(8 + 1)
    assert pieces_of(table.ask("a", 0.0)) == [0]
    assert pieces_of(table.ask("a", 0.1, (0,))) == [1]


def test_one_lost_piece_of_a_deal_is_dealt_again_alone():
    table = Table(1_000, DealConfig(deal_bytes=2 * PIECE_BYTES))
    table.ask("a", 0.0)
    assert pieces_of(table.ask("a", 0.6, (0,))) == [1, 2]
    assert pieces_of(table.ask("a", 1.2, (0, 2), dropped=(1,))) == [3, 4], "it goes last"
    assert table.dealer.statistics().in_flight == 2


def test_who_comes_when_enough_deals_are_leaving_waits_its_turn():
    table = Table(100, DealConfig(deal_s=1.5))
    for index in range(AT_ONCE_FIRST):
        assert isinstance(table.ask(f"h{index}", 0.0), Deal)
    assert table.ask("late", 0.1) == WaitDeal(retry_after_s=WAIT_MAX_S)
    assert isinstance(table.ask("later", 0.2), WaitDeal)
    assert table.dealer.due() == []
    assert isinstance(table.ask("h0", 2.0, (0,)), WaitDeal), "others wait already"
    assert table.dealer.due() == ["late"]
    assert isinstance(table.ask("later", 2.1), WaitDeal), "it is not its turn"
    assert isinstance(table.ask("late", 2.2), Deal)
    assert table.dealer.due() == []


def test_it_is_others_turn_as_soon_as_the_bytes_of_a_deal_have_left():
    table = Table(100)
    for index in range(AT_ONCE_FIRST):
        table.ask(f"h{index}", 0.0)
    assert isinstance(table.ask("late", 0.1), WaitDeal)
    table.dealer.note_left(HostName("h1"), 0, 0.3)
    assert table.dealer.due() == [], "piece 0 leaves for h0"
    table.dealer.note_left(HostName("h0"), 0, 0.3)
    assert table.dealer.due() == ["late"]
    assert isinstance(table.ask("late", 0.3), Deal)
    table.dealer.note_left(HostName("h0"), 0, 0.3)
    table.ask("h0", 0.4, (0,), paused=True)
    assert isinstance(table.ask("later", 0.5), WaitDeal), "a deal gives its turn back once"


def test_who_waited_and_went_away_keeps_nobody_waiting():
    table = Table(100)
    for index in range(AT_ONCE_FIRST):
        table.ask(f"h{index}", 0.0)
    table.ask("gone", 0.1)
    assert isinstance(table.ask("late", 0.2), WaitDeal)
    table.dealer.step_aside(HostName("gone"), 0.3)
    table.ask("h0", 0.4, (0,))
    assert table.dealer.due() == ["late"]
    assert isinstance(table.ask("late", 0.5), Deal)


def test_a_wait_for_ones_turn_is_told_from_one_for_pieces():
    table = Table(AT_ONCE_FIRST + 1)
    for index in range(AT_ONCE_FIRST):
        table.ask(f"h{index}", 0.0)
    turn = table.ask("late", 0.1)
    assert isinstance(turn, WaitDeal)
    assert not turn.exhausted
    table.ask("h0", 0.2, (0,), paused=True)
    assert isinstance(table.ask("late", 0.3), Deal)
    exhausted = table.ask("later", 0.4)
    assert isinstance(exhausted, WaitDeal)
    assert exhausted.exhausted


def test_who_can_be_dealt_nothing_waits_for_no_turn():
    table = Table(AT_ONCE_FIRST + 1)
    for index in range(AT_ONCE_FIRST):
        table.ask(f"h{index}", 0.0)
    assert isinstance(table.ask("idle", 0.1, stripes=0), WaitDeal)
    assert isinstance(table.ask("late", 0.2), WaitDeal)
    table.ask("h0", 0.3, (0,), paused=True)
    assert table.dealer.due() == ["late"]


def test_a_confirmed_deal_does_not_time_out():
    table = Table(1)
    table.ask("a", 0.0)
    for now in (1.0, 5.0, 9.0, 13.0):
        table.ask("a", now, (0,))
        assert isinstance(table.ask("b", now), WaitDeal)
    assert table.dealer.statistics().deals == 1


def test_a_piece_is_dealt_again_when_its_only_holder_falls_silent():
    table = Table(1)
    table.ask("a", 0.0)
    table.ask("a", 1.0, (0,))
    for now in (4.0, 8.0, 11.0):
        assert isinstance(table.ask("b", now), WaitDeal)
    assert piece_of(table.ask("b", 12.5)) == 0


def test_a_planted_piece_is_not_dealt_again_when_one_holder_falls_silent():
    table = Table(1)
    table.ask("a", 0.0)
    table.ask("a", 1.0, (0,))
    table.ask("b", 1.0, (0,))
    for now in (4.0, 8.0, 12.0, 16.0):
        assert isinstance(table.ask("c", now), AllDealt)
    assert table.dealer.statistics().deals == 1


def test_a_completed_host_is_believed_without_words():
    table = Table(1)
    assert isinstance(table.ask("a", 0.0, (0,), completed=True), AllDealt)
    for now in (4.0, 8.0, 12.0, 16.0):
        assert isinstance(table.ask("b", now), WaitDeal)


def test_nobody_is_judged_silent_when_the_dealer_itself_was_cut_off():
    table = Table(2)
    table.ask("a", 0.0)
    table.ask("a", 1.0, (0,))
    assert piece_of(table.ask("b", 60.0)) == 1, "piece 0 is still believed to be with a"
    assert isinstance(table.ask("a", 60.5, (0,)), WaitDeal)


def test_the_only_live_host_counts_as_planted():
    table = Table(1)
    assert piece_of(table.ask("a", 0.0)) == 0
    assert isinstance(table.ask("a", 1.0, (0,)), AllDealt)


def test_a_request_that_was_overtaken_takes_nothing_back():
    table = Table(2)
    table.ask("a", 0.0)
    table.ask("a", 0.2, (0,))
    table.ask("a", 0.3, ())
    assert isinstance(table.ask("b", 0.4), WaitDeal)


def test_a_host_that_starts_afresh_is_taken_at_its_word():
    table = Table(3)
    assert piece_of(table.ask("a", 0.0)) == 0
    assert piece_of(table.ask("a", 0.1, (0,))) == 1
    assert piece_of(table.ask("a", 0.2, (), fresh=True)) == 2, "those dealt before come last"
    assert [piece_of(table.ask("a", 0.3)) for _ in range(2)] == [0, 1]


def test_a_dropped_deal_is_dealt_again_at_once():
    table = Table(1)
    assert piece_of(table.ask("a", 0.0)) == 0
    assert isinstance(table.ask("b", 0.1, dropped=(0,)), WaitDeal), "it is not b's to drop"
    assert piece_of(table.ask("a", 0.2, dropped=(0,))) == 0


def test_everything_planted_means_all_dealt():
    table = Table(2)
    table.ask("a", 0.0, (0, 1))
    table.ask("b", 0.0, (0, 1))
    assert isinstance(table.ask("c", 0.0), AllDealt)


def test_a_missing_piece_brings_first_a_holders_name_then_the_bytes():
    table = Table(2)
    for now in (0.0, 4.0):
        table.ask("a", now, (0, 1))
        table.ask("b", now, (0, 1))
    assert table.ask("c", 5.0, missing=(1,)) == HolderHint(piece=1, host=HostName("a"))
    assert isinstance(table.ask("c", 6.0, missing=(1,)), AllDealt), "the hint needs its time"
    table.ask("a", 9.0, (0, 1))
    assert piece_of(table.ask("c", 10.0, missing=(1,))) == 1


def test_a_missing_piece_without_a_live_holder_brings_the_bytes_once():
    table = Table(1)
    table.ask("a", 0.0, (0,))
    table.ask("b", 0.0, (0,))
    for now in (4.0, 8.0, 12.0):
        table.ask("c", now)
    assert piece_of(table.ask("c", 13.0, missing=(0,))) == 0
    assert not isinstance(table.ask("d", 13.0, missing=(0,)), Deal), "it is on its way to c"


def test_a_restarted_dealer_deals_nothing_that_hosts_report():
    table = Table(6, DealConfig(settle_s=1.0))
    assert isinstance(table.ask("a", 0.0, (0, 1)), WaitDeal)
    assert isinstance(table.ask("b", 0.5, (2,)), WaitDeal)
    assert [piece_of(table.ask("a", 1.0 + k / 10, (0, 1))) for k in range(3)] == [3, 4, 5]


def test_a_piece_dealt_before_waits_behind_those_never_dealt():
    table = Table(3, DealConfig(deals_in_flight=2))
    assert piece_of(table.ask("a", 0.0)) == 0
    assert piece_of(table.ask("b", 10.2)) == 1
    assert piece_of(table.ask("b", 10.2)) == 2
    assert piece_of(table.ask("c", 10.2)) == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"have": b""},
        {"have": b"\xff"},
        {"missing": (3,)},
        {"missing": (-1,)},
        {"missing": (0,) * (MISSING_MAX + 1)},
        {"dropped": (3,)},
        {"completed": True},
    ],
)
def test_a_request_that_does_not_fit_the_release_is_refused_and_changes_nothing(
    fault: dict[str, object],
):
    fields: dict[str, object] = {
        "cell": "lab.web.c0",
        "manifest_digest": "00" * 32,
        "host": "a",
        "have": b"\x00",
    }
    table = Table(3)
    with pytest.raises(ProtocolError):
        table.dealer.handle(DealRequest(**{**fields, **fault}), 0.0)  # pyright: ignore
    assert table.dealer.statistics().hosts == 0


def test_the_table_of_hosts_is_bounded_and_silent_hosts_make_room():
    table = Table(1)
    for index in range(DEALER_HOSTS_MAX):
        table.ask(f"h{index}", 0.0)
    with pytest.raises(UnavailableError):
        table.ask("late", 1.0)
    table.ask("late", 11.0)
    assert table.dealer.statistics().hosts == DEALER_HOSTS_MAX


def test_what_only_an_evicted_host_held_is_dealt_again():
    table = Table(1)
    table.ask("h0", 0.0, (0,))
    for index in range(1, DEALER_HOSTS_MAX):
        table.ask(f"h{index}", 0.1)
    assert piece_of(table.ask("late", 11.0)) == 0


def test_a_host_that_may_not_draw_confirms_and_is_not_taken_for_dead():
    table = Table(2)
    assert piece_of(table.ask("a", 0.0)) == 0
    for second in range(1, 30):
        assert isinstance(table.ask("a", float(second), (0,), paused=True), WaitDeal)
        assert table.dealer.statistics().in_flight == 0
    assert piece_of(table.ask("b", 30.0)) == 1  # not 0, which its holder still has
    assert table.dealer.statistics().redeals == 0


def test_a_host_that_may_not_draw_keeps_no_turn():
    table = Table(AT_ONCE_FIRST + 2)
    for index in range(AT_ONCE_FIRST):
        table.ask(f"h{index}", 0.0)
    assert isinstance(table.ask("slow", 0.1), WaitDeal)
    assert isinstance(table.ask("slow", 0.2, paused=True), WaitDeal)
    table.ask("h0", 0.3, (0,), paused=True)
    assert table.dealer.due() == []


def test_who_has_all_deals_it_may_have_waits_for_no_turn():
    """It would be called again and again in vain."""
    table = Table(1_000)
    for index in range(AT_ONCE_FIRST - 3):
        table.ask(f"h{index}", 0.0)
    for _ in range(3):
        assert isinstance(table.ask("greedy", 0.0), Deal)
    assert isinstance(table.ask("greedy", 0.1), WaitDeal)
    table.ask("h0", 2.0, (0,))
    assert "greedy" in table.dealer.due()
    for piece in (998, 999):  # by number, past all turns
        table.ask("greedy", 2.1, missing=(piece,))
    table.ask("greedy", 2.2)
    assert "greedy" not in table.dealer.due()


def test_the_gaps_of_a_piece_are_sent_once_a_deal():
    table = Table(10)
    piece = piece_of(table.ask("a", 0.0))
    assert not table.dealer.take_gaps(HostName("b"), piece)
    assert table.dealer.take_gaps(HostName("a"), piece)
    assert not table.dealer.take_gaps(HostName("a"), piece)


def slow_and_quick(table: Table, quick_s: float, slow_s: float) -> None:
    """*a* confirms a deal after *slow_s*, b, c and d confirm theirs after *quick_s*."""
    for host, piece in (("a", 0), ("b", 1), ("c", 2), ("d", 3)):
        assert piece_of(table.ask(host, 0.0)) == piece
    for host, piece in (("b", 1), ("c", 2), ("d", 3)):
        table.ask(host, quick_s, (piece,), paused=True)
    for at in range(1, int(slow_s)):  # others are there meanwhile
        table.ask("b", float(at), (1,), paused=True)
    table.ask("a", slow_s, (0,), paused=True)


def test_a_host_that_confirms_slowly_keeps_no_piece_longer_than_others_could_twice_over():
    table = Table(1_000)
    slow_and_quick(table, quick_s=1.5, slow_s=9.5)
    [piece, *_] = pieces_of(table.ask("a", 10.0, (0,)))
    for second in (14.0, 18.0, 21.9):
        table.ask("b", second, (1,), paused=True)
        table.ask("a", second, (0,), paused=True)
        assert table.dealer.statistics().redeals == 0
    table.ask("b", 22.1, (1,), paused=True)
    everything_else = tuple(each for each in range(1_000) if each != piece)
    assert pieces_of(table.ask("b", 22.2, everything_else)) == [piece], "after 12 s, not 38 s"


def test_a_slow_confirmation_keeps_others_waiting_for_their_turn_only_briefly():
    table = Table(1_000, DealConfig(deal_s=1.5))
    for index in range(AT_ONCE_FIRST):
        assert isinstance(table.ask(f"slow{index}", 0.0), Deal)
    assert isinstance(table.ask("late", 0.1), WaitDeal)
    assert isinstance(table.ask("late", 5.9), WaitDeal)
    assert isinstance(table.ask("late", 6.1), Deal)
    assert table.dealer.statistics().in_flight == AT_ONCE_FIRST + 1, "they are waited for still"


def test_who_is_much_slower_than_others_makes_deals_no_fewer():
    table = Table(1_000, DealConfig(deal_s=1.5))
    at_once = table.dealer.turns_at_once
    slow_and_quick(table, quick_s=0.5, slow_s=9.5)
    assert table.dealer.turns_at_once == at_once


def test_a_host_whose_deal_timed_out_has_one_at_a_time_until_it_confirms_one():
    table = Table(1_000)
    assert piece_of(table.ask("a", 0.0)) == 0
    table.ask("b", 9.0)
    table.ask("b", 10.1, paused=True)
    assert piece_of(table.ask("a", 10.2)) == 2
    assert isinstance(table.ask("a", 10.3), WaitDeal)
    for now in (11.3, 11.4):
        assert isinstance(table.ask("a", now, (2,)), Deal)


def test_half_of_the_turns_are_others():
    table = Table(1_000, DealConfig(deal_s=0.1))
    table.ask("a", 0.0)
    for index in range(20):  # slow deals: as few at once as ever
        table.ask("a", 0.3 * (index + 1), tuple(range(index + 1)))
    assert table.dealer.turns_at_once == AT_ONCE_MIN
    have = tuple(range(20))
    drawn = [table.ask("a", 6.1, have) for _ in range(AT_ONCE_MIN)]
    assert [isinstance(reply, Deal) for reply in drawn].count(True) < AT_ONCE_MIN // 2 + 1
    assert isinstance(table.ask("b", 6.2), Deal)


def test_a_host_may_begin_afresh_now_and_then_only():
    table = Table(10)
    for _ in range(TAKE_BACKS_MAX):
        table.ask("a", 0.0, tuple(range(9)))
        table.ask("a", 0.0, (), fresh=True, paused=True)
    table.ask("a", 0.1, tuple(range(9)))
    with pytest.raises(UnavailableError) as refused:
        table.ask("a", 0.2, (), fresh=True)
    assert refused.value.code == "fresh-too-often"
    assert table.dealer.statistics().held == 10 - 1, "nothing was taken back"
    table.ask("a", 5.1, (), fresh=True, paused=True)
    assert table.dealer.statistics().held == 0


def test_a_host_that_takes_nothing_back_may_begin_afresh_at_any_time():
    table = Table(10)
    for _ in range(10 * TAKE_BACKS_MAX):
        table.ask("a", 0.0, (0, 1), fresh=True, paused=True)
    assert table.dealer.statistics().held == 2


def test_asking_again_says_nothing_anew():
    table = Table(100)
    request = DealRequest(
        cell=CellId("lab.web.c0"),
        manifest_digest=Digest("00" * 32),
        host=HostName("a"),
        have=bitmap_of([piece < 3 for piece in range(100)]),
    )
    table.dealer.handle(request, 0.0)
    table.ask("a", 0.1, (), fresh=True, paused=True)
    assert isinstance(table.dealer.ask_again(request, 0.2), Deal)
    assert table.dealer.statistics().held == 0
