"""A request that must wait is held until it is that host's turn."""

from __future__ import annotations

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2pdeploy.ids import CellId, Digest, HostName
from p2pdeploy.messages.deal import Deal, DealReply, DealRequest, WaitDeal, bitmap_of
from p2pdeploy.swarm.deal import Dealer
from p2pdeploy.swarm.deal_terms import WAIT_MIN_S, DealConfig
from p2pdeploy.swarm.turns import AT_ONCE_FIRST
from p2ptracker.held_dealer import HOLD_S, HeldDealer

PIECES = 100


def request_of(host: str, *have: int, fresh: bool = False) -> DealRequest:
    return DealRequest(
        cell=CellId("lab.web.c0"),
        manifest_digest=Digest("00" * 32),
        host=HostName(host),
        have=bitmap_of([piece in have for piece in range(PIECES)]),
        fresh=fresh,
    )


async def full_house() -> HeldDealer:
    """As many deals are on their way as there may be: h0 has piece 0, and so on."""
    dealer = HeldDealer(Dealer([65_536] * PIECES, DealConfig(deal_s=1.5)))
    for index in range(AT_ONCE_FIRST):
        assert isinstance(await dealer.draw(request_of(f"h{index}")), Deal)
    return dealer


async def test_who_must_wait_is_answered_as_soon_as_it_is_its_turn(
    autojump_clock: MockClock,
) -> None:
    dealer = await full_house()
    replies: list[DealReply] = []

    async def wait(host: str) -> None:
        replies.append(await dealer.draw(request_of(host)))

    async with trio.open_nursery() as nursery:
        for host in ("late", "later"):
            nursery.start_soon(wait, host)
            await wait_all_tasks_blocked()
        assert not replies
        await trio.sleep(2.0)
        nursery.start_soon(dealer.draw, request_of("h0", 0))
        await wait_all_tasks_blocked()
        assert [type(reply) for reply in replies] == [Deal], "one deal ended, one begins"
        assert trio.current_time() == 2.0
        nursery.cancel_scope.cancel()


async def test_who_waits_is_answered_when_the_bytes_of_another_have_left(
    autojump_clock: MockClock,
) -> None:
    dealer = await full_house()
    replies: list[DealReply] = []

    async def wait() -> None:
        replies.append(await dealer.draw(request_of("late")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        dealer.note_left(HostName("h0"), 0)
    assert [type(reply) for reply in replies] == [Deal]
    assert trio.current_time() == 0.0


async def test_who_waited_in_vain_hears_so_in_time(autojump_clock: MockClock) -> None:
    dealer = await full_house()
    assert isinstance(await dealer.draw(request_of("late")), WaitDeal)
    assert trio.current_time() == HOLD_S


async def test_a_restart_of_a_host_is_told_to_the_dealer_once(autojump_clock: MockClock) -> None:
    dealer = await full_house()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dealer.draw, request_of("late", 50, fresh=True))
        await wait_all_tasks_blocked()
        nursery.start_soon(dealer.draw, request_of("late", 50, 51))
    assert dealer.core.statistics().held == 2, "the held request said nothing anew"


async def test_who_only_reports_is_answered_at_once(autojump_clock: MockClock) -> None:
    dealer = await full_house()
    request = msgspec.structs.replace(request_of("h0", 0), paused=True)
    began_at = trio.current_time()
    assert isinstance(await dealer.draw(request), WaitDeal)
    assert trio.current_time() == began_at


async def test_what_a_held_request_had_is_not_said_again_after_a_fresh_one(
    autojump_clock: MockClock,
) -> None:
    dealer = await full_house()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dealer.draw, request_of("late", 50))
        await wait_all_tasks_blocked()
        nursery.start_soon(dealer.draw, request_of("late", fresh=True))
    assert dealer.core.statistics().held == 0


async def test_a_host_that_may_draw_no_more_is_not_called_again_and_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    dealer = HeldDealer(Dealer([65_536] * PIECES))
    for _ in range(4):
        assert isinstance(await dealer.draw(request_of("greedy")), Deal)
    asked = 0
    ask_again = dealer.core.ask_again

    def count(request: DealRequest, now: float) -> DealReply:
        nonlocal asked
        asked += 1
        return ask_again(request, now)

    monkeypatch.setattr(dealer.core, "ask_again", count)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(dealer.draw, request_of("greedy"))
    assert 0 < asked <= 2 * (HOLD_S / WAIT_MIN_S + 1)


async def test_who_was_answered_or_has_gone_keeps_nobody_waiting(
    autojump_clock: MockClock,
) -> None:
    dealer = await full_house()
    replies: list[DealReply] = []

    async def wait(host: str) -> None:
        replies.append(await dealer.draw(request_of(host)))

    assert isinstance(await dealer.draw(request_of("answered")), WaitDeal)
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.5):
            await dealer.draw(request_of("gone"))
        nursery.start_soon(wait, "late")
        await wait_all_tasks_blocked()
        began_at = trio.current_time()
        nursery.start_soon(dealer.draw, request_of("h0", 0))
        await wait_all_tasks_blocked()
        assert [type(reply) for reply in replies] == [Deal]
        assert trio.current_time() == began_at
        nursery.cancel_scope.cancel()


async def test_when_one_of_two_requests_of_a_host_ends_the_other_waits_on(
    autojump_clock: MockClock,
) -> None:
    dealer = await full_house()
    replies: list[DealReply] = []

    async def wait(host: str) -> None:
        replies.append(await dealer.draw(request_of(host)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "late")
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.5):
            await dealer.draw(request_of("late"))
        await dealer.draw(msgspec.structs.replace(request_of("h0", 0), paused=True))
        await wait_all_tasks_blocked()
        assert [type(reply) for reply in replies] == [Deal]
        nursery.cancel_scope.cancel()


async def test_a_closed_dealer_sends_everybody_to_the_next_one(autojump_clock: MockClock) -> None:
    dealer = await full_house()
    replies: list[DealReply] = []

    async def wait() -> None:
        replies.append(await dealer.draw(request_of("late")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert dealer.is_waited_for
        dealer.close()
    assert trio.current_time() == 0
    assert [type(reply) for reply in replies] == [WaitDeal]
    assert not dealer.is_waited_for
