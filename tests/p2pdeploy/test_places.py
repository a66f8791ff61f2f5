"""Places for connections, turns to work: who gets one, who has to go, and that none is lost."""

from __future__ import annotations

from contextlib import ExitStack

import trio

from p2pdeploy.places import Places, Slots


async def test_a_caller_has_room_until_it_has_its_share_or_there_is_none() -> None:
    places = Places(open_max=3, each_max=2)
    with ExitStack() as stack:
        for who in ("ann", "ann"):
            stack.enter_context(places.hold(who))
        assert not places.has_room("ann")
        assert places.has_room("bob")
        stack.enter_context(places.hold("bob"))
        assert not places.has_room("cyd")
    assert len(places) == 0
    assert places.has_room("cyd")


async def test_whoever_has_its_share_displaces_its_own_oldest() -> None:
    places = Places(open_max=10, each_max=2)
    with ExitStack() as stack:
        scopes = [stack.enter_context(places.hold(who)) for who in ("eve", "ann", "eve")]
        assert places.displace("eve")
        assert [scope.cancel_called for scope in scopes] == [True, False, False]
        assert not places.displace("ann")


async def test_a_newcomer_displaces_the_oldest_of_whoever_has_the_most() -> None:
    places = Places(open_max=4, each_max=3)
    with ExitStack() as stack:
        callers = ("ann", "eve", "eve", "eve")
        scopes = [stack.enter_context(places.hold(who)) for who in callers]
        assert places.displace("bob")
        assert [scope.cancel_called for scope in scopes] == [False, True, False, False]


async def test_a_displaced_one_gives_its_place_back_once() -> None:
    places = Places(open_max=1, each_max=1)
    reached = False
    with places.hold("eve"):
        places.displace("bob")
        with places.hold("bob"):
            assert len(places) == 1
            assert not places.has_room("cyd")
        assert len(places) == 0
        await trio.sleep_forever()
        reached = True
    assert not reached
    assert (len(places), repr(places)) == (0, "<Places 0 of 1 held by 0>")


async def test_nobody_has_every_turn_and_all_come_to_theirs(autojump_clock: object) -> None:
    slots, working, order = Slots(in_all=3, of_one=2), list[str](), list[str]()

    async def work(who: str) -> None:
        async with slots.take(who):
            working.append(who)
            assert len(working) <= 3
            assert working.count("eve") <= 2
            await trio.sleep(1)
            working.remove(who)
            order.append(who)

    async with trio.open_nursery() as nursery:
        for who in 6 * ("eve",):
            nursery.start_soon(work, who)
        await trio.sleep(0.5)
        nursery.start_soon(work, "ann")
        await trio.sleep(0.4)  # the others work for a second
        assert "ann" in working, "though four of the other's are waiting"
    assert sorted(order) == ["ann", *6 * ("eve",)]
    assert not slots._of_one, "nobody is kept who has none"
