"""The timer heap hands values back in order of time, on trio's clock."""

from __future__ import annotations

import trio
import trio.testing

from p2pdeploy.gossip.effects import GossipDue, OfferDue, ProbeDue, ProbeTimedOut, SetTimer, Timer
from p2pdeploy.gossip.timers import TimerHeap


async def test_timers_fire_in_order_and_an_earlier_one_overtakes(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    heap = TimerHeap()
    start = trio.current_time()
    fired: list[tuple[float, Timer]] = []
    done = trio.Event()

    def fire(timer: Timer) -> None:
        fired.append((trio.current_time() - start, timer))
        if timer == OfferDue():
            heap.set(SetTimer(ProbeDue(), start))  # already due: fires at once
        if len(fired) == 5:
            done.set()

    heap.set(SetTimer(GossipDue(), start + 5.0))
    nursery.start_soon(heap.fire_timers, fire)
    await trio.sleep(1.0)
    heap.set(SetTimer(OfferDue(), start + 2.0))
    heap.set(SetTimer(ProbeTimedOut(2), start + 6.0))
    heap.set(SetTimer(ProbeTimedOut(1), start + 6.0))
    await done.wait()
    assert fired == [
        (2.0, OfferDue()),
        (2.0, ProbeDue()),
        (5.0, GossipDue()),
        (6.0, ProbeTimedOut(2)),
        (6.0, ProbeTimedOut(1)),
    ]


async def test_an_empty_heap_waits_for_the_first_timer(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    heap = TimerHeap()
    done = trio.Event()
    nursery.start_soon(heap.fire_timers, lambda _: done.set())
    await trio.testing.wait_all_tasks_blocked()
    heap.set(SetTimer(GossipDue(), trio.current_time() + 1.0))
    await done.wait()
