"""A dealer that forgot is told what is seeded here: once, and until it has heard it."""

from __future__ import annotations

import random

import pytest
import trio

from p2pdaemon.tell_seeds import RETRY_MAX_S, SPREAD_S, SeedTeller
from p2pdeploy.errors import NotFoundError, UnavailableError
from p2pdeploy.ids import CellId, Digest, HostName
from p2pdeploy.messages.deal import AllDealt
from p2pdeploy.messages.swarm import FetchProgress, SourceBytes

OLD, NEW, BEGUN = Digest("aa" * 32), Digest("bb" * 32), Digest("cc" * 32)
MEMBERS = {"127.0.0.2": "rack"}


class Seeded:
    """What the teller reads of a torrent."""

    def __init__(self, *, complete: bool = True) -> None:
        self.complete = complete

    def have_bitmap(self) -> bytes:
        return b"\xe0"

    def fetch_progress(self, members):
        assert members == MEMBERS
        return FetchProgress(have_bytes=3, received=SourceBytes(rack=3))


class Dealer:
    """Takes in reports, unless it is down or has lost a release."""

    def __init__(self) -> None:
        self.requests = []
        self.asked_at = []
        self.down = False
        self.lost = frozenset()

    async def deal(self, request):
        await trio.lowlevel.checkpoint()
        self.asked_at.append(trio.current_time())
        if self.down:
            raise UnavailableError("the control plane is down")
        if request.manifest_digest in self.lost:
            raise NotFoundError("no such release")
        self.requests.append(request)
        return AllDealt(), b""

    def told(self):
        return [request.manifest_digest for request in self.requests]


@pytest.fixture
def dealer() -> Dealer:
    return Dealer()


@pytest.fixture
async def teller(dealer, nursery) -> SeedTeller:
    seeds = {OLD: Seeded(), NEW: Seeded(), BEGUN: Seeded(complete=False)}
    made = SeedTeller(
        lambda: dict(seeds),
        dealer,
        CellId("lab.web.c0"),
        HostName("h01"),
        lambda: MEMBERS,
        random.Random(1),
    )
    nursery.start_soon(made.tell_dealer)
    return made


async def test_nothing_is_told_unasked(teller, dealer, autojump_clock):
    await trio.sleep(3600)
    assert dealer.asked_at == []


async def test_whole_releases_are_told_once_and_begun_ones_never(teller, dealer, autojump_clock):
    teller.tell_again()
    await trio.sleep(3600)
    assert dealer.told() == [OLD, NEW]
    assert all(request.completed and request.fresh for request in dealer.requests)
    assert {request.have for request in dealer.requests} == {b"\xe0"}
    assert {request.progress.received.rack for request in dealer.requests} == {3}


async def test_they_are_told_again_after_the_control_plane_was_lost(teller, dealer, autojump_clock):
    teller.tell_again()
    await trio.sleep(60)
    teller.tell_again()
    await trio.sleep(60)
    assert dealer.told() == [OLD, NEW, OLD, NEW]


async def test_a_dealer_that_is_down_is_tried_ever_less_often_until_it_hears(
    teller, dealer, autojump_clock
):
    dealer.down = True
    teller.tell_again()
    await trio.sleep(3600)
    gaps = [b - a for a, b in zip(dealer.asked_at, dealer.asked_at[1:], strict=False)]
    assert gaps == sorted(gaps[:4]) + gaps[4:]
    assert all(RETRY_MAX_S * 0.75 <= gap <= RETRY_MAX_S for gap in gaps[6:])
    dealer.down = False
    await trio.sleep(RETRY_MAX_S)
    assert dealer.told() == [OLD, NEW]


async def test_a_release_that_the_control_plane_lost_does_not_keep_the_others_back(
    teller, dealer, autojump_clock
):
    dealer.lost = frozenset({OLD})
    teller.tell_again()
    await trio.sleep(3600)
    assert dealer.told() == [NEW]
    assert len(dealer.asked_at) == 2, "not asked again either"


async def test_a_cell_does_not_tell_all_at_the_same_moment(dealer, nursery, autojump_clock):
    for number in range(20):
        teller = SeedTeller(
            lambda: {OLD: Seeded()},
            dealer,
            CellId("lab.web.c0"),
            HostName(f"h{number:02}"),
            lambda: MEMBERS,
            random.Random(number),
        )
        nursery.start_soon(teller.tell_dealer)
        teller.tell_again()
    await trio.sleep(SPREAD_S)
    assert len(dealer.asked_at) == 20
    assert max(dealer.asked_at) - min(dealer.asked_at) > SPREAD_S / 2
