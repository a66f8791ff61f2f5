"""Rates of a host as they are applied: limits at once, pressure in seconds, nothing while idle."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.lowlevel
from trio.testing import MockClock

from p2pdaemon.keep_rates import LOOK_IDLE_S, RateKeeper
from p2pdaemon.rate_limits import KnownRateLimits
from p2pdeploy.gossip.effects import ItemMerged, ItemsDropped
from p2pdeploy.gossip.state import RATE_LIMITS_KEY, item_of
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.rates import RateLimit, RateLimits
from p2pdeploy.swarm.pace import DealPace
from p2pdeploy.swarm.pressure import PressureSample
from p2pdeploy.swarm.session import Traffic
from p2pdeploy.swarm.yielding import FLOOR_BYTES_PER_S, RECOVERY_S

CELL, ME = CellId("lab.web.c0"), HostName("h01")
MB = 1_000_000
AT_EASE, PRESSED = PressureSample(io_full=0.0), PressureSample(io_full=0.9)


class Peers:
    """Moves *rate* bytes a second each way, however it is limited."""

    def __init__(self) -> None:
        self.rate = 0
        self.reaches_far = False
        self.far_limits: list[int | None] = []
        self.limits: list[tuple[int | None, int | None]] = []
        self._moved, self._at = 0.0, trio.current_time()

    def limit_rates(self, download_bytes_per_s: int | None, upload_bytes_per_s: int | None) -> None:
        self.limits.append((download_bytes_per_s, upload_bytes_per_s))

    def limit_far(self, download_bytes_per_s: int | None) -> None:
        self.far_limits.append(download_bytes_per_s)

    async def traffic(self) -> Traffic:
        await trio.lowlevel.checkpoint()
        now = trio.current_time()
        self._moved += self.rate * (now - self._at)
        self._at = now
        return Traffic(int(self._moved), int(self._moved))


class Signals:
    """Says what the test wants."""

    def __init__(self) -> None:
        self.missing: tuple[str, ...] = ()
        self.now = AT_EASE
        self.samples = 0

    def sample(self) -> PressureSample | None:
        self.samples += 1
        return self.now

    def forget(self) -> None:
        pass


class Bench:
    """A keeper over fakes."""

    def __init__(self, folder: Path, *, yields: bool = True) -> None:
        self.peers, self.signals = Peers(), Signals()
        self.pace = DealPace(0.0, trio.current_time())
        self.published: list[bytes] = []
        self.known = KnownRateLimits(CELL, folder / "rate-limits", self.published.append)
        signals = self.signals if yields else None
        self.keeper = RateKeeper(ME, self.known, self.peers, self.pace, signals, lambda: 10)

    def tell(self, seq: int, **limits: object) -> bytes:
        word = RateLimits(cell=CELL, limits_seq=seq, **limits)  # type: ignore[arg-type]
        envelope = b"sealed %d" % seq
        self.known.hear(ItemMerged(word, item_of(word, envelope)))
        return envelope


@asynccontextmanager
async def running(folder: Path, *, yields: bool = True) -> AsyncGenerator[Bench]:
    bench = Bench(folder, yields=yields)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.keeper.keep_rates)
        await trio.lowlevel.checkpoint()
        yield bench
        nursery.cancel_scope.cancel()


async def applied(bench: Bench, seq: int) -> None:
    """Wait, without time passing, until a limit is in force."""
    for _ in range(1_000):
        if bench.keeper.rates().limits_seq == seq:
            return
        await trio.lowlevel.checkpoint()
    raise AssertionError(f"limits {seq} are not applied")


async def test_a_limit_is_applied_at_once_also_while_idle(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path) as bench:
        await trio.sleep(1)
        limit = RateLimit(download_bytes_per_s=5 * MB, upload_bytes_per_s=3 * MB)
        bench.tell(1, hosts={ME: limit})
        await applied(bench, 1)
        assert bench.peers.limits == [(5 * MB, 3 * MB)]
        rates = bench.keeper.rates()
        assert (rates.download_bytes_per_s, rates.download_reason) == (5 * MB, "configured")
        bench.tell(2)
        await applied(bench, 2)
        assert bench.peers.limits[-1] == (None, None)
        assert bench.keeper.rates().download_reason == "none"


async def test_pressure_slows_the_swarm_down_to_the_floor_and_calm_frees_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path) as bench:
        bench.peers.rate = 100 * MB
        bench.signals.now = PRESSED
        await trio.sleep(60)
        rates = bench.keeper.rates()
        assert (rates.download_bytes_per_s, rates.download_reason) == (
            FLOOR_BYTES_PER_S,
            "pressure",
        )
        assert bench.peers.limits[-1] == (FLOOR_BYTES_PER_S, FLOOR_BYTES_PER_S)
        bench.signals.now = AT_EASE
        await trio.sleep(RECOVERY_S + 10)
        assert bench.keeper.rates().download_reason == "none"
        assert bench.peers.limits[-1] == (None, None)


async def test_pressure_never_lifts_a_limit(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with running(tmp_path) as bench:
        bench.tell(1, each_host=RateLimit(download_bytes_per_s=500_000))
        bench.peers.rate = MB
        bench.signals.now = PRESSED
        await trio.sleep(60)
        rates = bench.keeper.rates()
        assert (rates.download_bytes_per_s, rates.download_reason) == (500_000, "configured")


async def test_an_idle_host_looks_at_no_pressure(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with running(tmp_path) as bench:
        bench.signals.now = PRESSED
        await trio.sleep(100 * LOOK_IDLE_S)
        assert bench.signals.samples == 0
        assert bench.keeper.rates().download_reason == "none"


async def test_a_host_that_yields_to_nobody_keeps_to_limits_alone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path, yields=False) as bench:
        bench.peers.rate = 100 * MB
        await trio.sleep(30)
        assert bench.keeper.rates().download_reason == "none"


async def test_what_is_not_told_here_is_logged_once_and_shown(
    tmp_path: Path, autojump_clock: MockClock, logged: list[dict[str, object]]
) -> None:
    async with running(tmp_path) as bench:
        bench.signals.missing = ("psi",)
        bench.peers.rate = MB
        await trio.sleep(60)
        assert bench.keeper.rates().missing == ("psi",)
    assert sum("pressure" in str(entry.get("event")) for entry in logged) == 1


async def test_deals_leave_peers_the_rest_of_the_download(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path) as bench:
        bench.tell(1, each_host=RateLimit(download_bytes_per_s=10 * MB))
        for _ in range(20):
            now = trio.current_time()
            if bench.pace.wait_s(now) == 0:
                bench.pace.note_dealt(20 * MB, now)
            await trio.sleep(1)
        assert bench.peers.limits[-1] == (5 * MB, None)


async def test_the_uplink_is_shared_by_all_at_first_and_then_by_those_who_draw(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path) as bench:
        bench.tell(1, uplink=RateLimit(download_bytes_per_s=10 * MB))
        bench.pace.begin(MB, trio.current_time())
        bench.pace.note_drawing(2, trio.current_time())
        await trio.sleep(LOOK_IDLE_S + 1)
        assert bench.keeper.rates().uplink_bytes_per_s == MB  # of ten that are alive
        await trio.sleep(5)
        bench.pace.note_drawing(2, trio.current_time())
        await trio.sleep(LOOK_IDLE_S + 1)
        assert bench.keeper.rates().uplink_bytes_per_s == 5 * MB


async def test_limits_are_on_the_disk_for_the_next_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.known.keep_on_disk)
        envelope = bench.tell(1, each_host=RateLimit(download_bytes_per_s=MB))
        with trio.fail_after(30):
            while not (tmp_path / "rate-limits").exists():
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    again = Bench(tmp_path)
    again.known.restore()
    assert again.published == [envelope]


async def test_limits_that_a_stolen_key_signed_end_when_the_cell_drops_them(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path) as bench:
        bench.tell(7, hosts={ME: RateLimit(download_bytes_per_s=MB)})
        await applied(bench, 7)
        bench.known.hear(ItemsDropped((RATE_LIMITS_KEY,)))
        await applied(bench, 0)
        assert bench.peers.limits[-1] == (None, None)


async def test_what_may_enter_the_cell_is_shared_with_hosts_of_other_cells(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path) as bench:
        bench.peers.reaches_far = True
        bench.tell(1, uplink=RateLimit(download_bytes_per_s=20 * MB))
        await trio.sleep(1.5)
        assert bench.peers.far_limits == [2 * MB], "one of ten hosts, and no deals come"
        now = trio.current_time()
        bench.pace.note_dealt(5 * MB, now)
        assert bench.pace.wait_s(now) > 3, "deals have half of it"
        await trio.sleep(LOOK_IDLE_S + 0.5)
        assert bench.peers.far_limits[-1] == MB
        bench.tell(2)
        await trio.sleep(1.5)
        assert bench.peers.far_limits[-1] is None


async def test_without_other_cells_deals_have_all_that_may_enter(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path) as bench:
        bench.tell(1, uplink=RateLimit(download_bytes_per_s=20 * MB))
        await trio.sleep(1.5)
        now = trio.current_time()
        bench.pace.note_dealt(5 * MB, now)
        assert bench.pace.wait_s(now) < 3
        assert bench.peers.far_limits == []
