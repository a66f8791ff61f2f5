"""What a host does with the control plane: it never waits for it, and never hammers it."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio

from p2pdaemon import learn_cell, tries
from p2pdaemon.cell_feed import make_gossip
from p2pdaemon.clock import HostClock
from p2pdaemon.control import Offset
from p2pdaemon.learn_cell import CellLearner
from p2pdaemon.tries import RETRY_MAX_S, Tries
from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.testing.keyring import HmacKeyring
from p2pdeploy.topology import Host
from p2pdeploy.trust.cell_keys import first_cell_keys


class ControlPlaneStandIn:
    """Answers as it is told to, and keeps when it was asked."""

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = hosts
        self.down = False
        self.asked: dict[str, list[float]] = {"time": [], "hosts": []}

    async def _ask(self, what: str) -> None:
        await trio.lowlevel.checkpoint()
        self.asked[what].append(trio.current_time())
        if self.down:
            raise UnavailableError("the control plane is down")

    async def measure_offset(self) -> Offset:
        await self._ask("time")
        return Offset(offset_s=0.0, error_s=0.001)

    async def hosts_of(self, cell: CellId) -> list[Host]:
        await self._ask("hosts")
        return self.hosts

    def gaps(self, what: str) -> list[float]:
        return [later - earlier for earlier, later in itertools.pairwise(self.asked[what])]


def a_host(name: str, cell: str = "lab.web.c0") -> Host:
    return Host(
        name=HostName(name),
        address=f"127.9.9.{int(name[1:])}",
        environment="lab",
        machine_function="web",
        cell=CellId(cell),
        fault_domain=FaultDomain("fd0"),
        gossip_port=7946,
        swarm_port=6881,
        host_port=7947,
    )


class Bench:
    """One host's tasks, its gossip never started: a replica and a member table."""

    def __init__(self, config, seed: int = 1) -> None:
        config.state_dir.mkdir(exist_ok=True)
        keyring = HmacKeyring(b"fleet")
        self.gossip = make_gossip(config, first_cell_keys(config.cell, bytes(32)), keyring)
        self.control = ControlPlaneStandIn([a_host("h02"), a_host("h03")])
        self.came_back = 0
        self.events = []
        self.cache = config.state_dir / "inventory.json"
        self.tries = Tries(random.Random(seed), self._came_back)
        clock = HostClock(kernel=lambda: None)
        self.learner = CellLearner(config, self.control, self.gossip, clock, self._send, self.tries)

    async def _send(self, event) -> None:
        self.events.append(event)

    def _came_back(self) -> None:
        self.came_back += 1

    def knows(self) -> list[str]:
        return [member.name for member in self.gossip.members()]


@pytest.fixture
def bench(config) -> Bench:
    return Bench(config)


async def run_for(seconds: float, *tasks) -> None:
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(task)


async def test_a_control_plane_that_is_down_is_asked_ever_less_often(bench, autojump_clock, logged):
    bench.control.down = True
    await run_for(3600, bench.learner.measure_clock)
    gaps = bench.control.gaps("time")
    assert gaps[0] < 1.0
    assert all(RETRY_MAX_S * 0.75 <= gap <= RETRY_MAX_S for gap in gaps[8:])
    assert bench.tries.failures == len(bench.control.asked["time"])
    assert len(logged) == 1, "said once, not once per try"


async def test_two_hosts_do_not_retry_in_step(config, autojump_clock):
    first, second = Bench(config, seed=1), Bench(config, seed=2)
    first.control.down = second.control.down = True
    await run_for(600, first.learner.measure_clock, second.learner.measure_clock)
    meetings = set(first.control.asked["time"][1:]) & set(second.control.asked["time"][1:])
    assert not meetings


async def test_the_return_of_the_control_plane_is_told_once(bench, autojump_clock):
    await run_for(60, bench.learner.measure_clock)
    assert bench.came_back == 0, "it was never away"
    bench.control.down = True
    await run_for(60, bench.learner.measure_clock)
    bench.control.down = False
    await run_for(60, bench.learner.measure_clock)
    assert bench.came_back == 1


async def test_the_core_is_woken_when_the_clock_becomes_synchronised_and_not_again(
    bench, autojump_clock
):
    await run_for(120, bench.learner.measure_clock)
    assert len(bench.control.asked["time"]) > 5
    assert len(bench.events) == 1


@asynccontextmanager
async def learning(bench: Bench, monkeypatch) -> AsyncGenerator[None]:
    """Learn seeds on the real clock, since files are read in threads; without its long pauses."""
    monkeypatch.setattr(learn_cell, "SEEDS_EVERY_S", 0.01)
    monkeypatch.setattr(tries, "RETRY_FIRST_S", 0.01)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.learner.learn_seeds)
            yield
            nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 nothing tells what a thread wrote
        await trio.sleep(0.005)


async def test_a_start_without_the_control_plane_uses_the_inventory_as_it_was(bench, monkeypatch):
    bench.control.down = True
    bench.cache.write_bytes(msgspec.json.encode([a_host("h07"), a_host("h08")]))
    async with learning(bench, monkeypatch):
        await until(lambda: {"h07", "h08"} <= set(bench.knows()))


async def test_the_inventory_is_kept_for_the_next_start(bench, config, monkeypatch):
    async with learning(bench, monkeypatch):
        await until(bench.cache.exists)
    again = Bench(config)
    again.control.down = True
    async with learning(again, monkeypatch):
        await until(lambda: {"h02", "h03"} <= set(again.knows()))


async def test_an_inventory_that_did_not_change_is_not_written_again(bench, monkeypatch):
    async with learning(bench, monkeypatch):
        await until(bench.cache.exists)
        written = bench.cache.stat()
        rounds = len(bench.control.asked["hosts"])
        await until(lambda: len(bench.control.asked["hosts"]) > rounds + 3)
    seen = bench.cache.stat()
    assert (seen.st_ino, seen.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


@pytest.mark.parametrize(
    "damage", [b"", b"[", b'[{"name": 1}]', b"\xff\xfe"], ids=["empty", "cut", "typed", "binary"]
)
async def test_a_damaged_cache_does_not_keep_the_inventory_away(bench, damage, monkeypatch):
    bench.cache.write_bytes(damage)
    async with learning(bench, monkeypatch):
        await until(lambda: {"h02", "h03"} <= set(bench.knows()))
        await until(lambda: bench.cache.read_bytes() != damage)
    assert msgspec.json.decode(bench.cache.read_bytes(), type=list[Host]) == bench.control.hosts


async def test_a_cache_that_cannot_be_read_or_replaced_keeps_nothing_away(
    bench, monkeypatch, logged
):
    bench.cache.mkdir()  # a folder: neither reading nor renaming over it works, even for root
    async with learning(bench, monkeypatch):
        await until(lambda: len(bench.control.asked["hosts"]) > 3)
    assert {"h02", "h03"} <= set(bench.knows())
    events = [entry["event"] for entry in logged]
    assert events.count("inventory not kept") == 1, "said once, not once per round"
    assert bench.came_back == 0
    assert bench.tries.failures == 1, "the cache at the start; the control plane always answered"


async def test_seeds_of_another_cell_and_this_host_itself_are_not_taken(bench, config, monkeypatch):
    stranger, myself = a_host("h09", cell="lab.web.c1"), a_host("h01")
    bench.control.hosts = [stranger, myself, a_host("h02")]
    async with learning(bench, monkeypatch):
        await until(lambda: "h02" in bench.knows())
    assert sorted(bench.knows()) == ["h01", "h02"]
    [me] = [member for member in bench.gossip.members() if member.name == "h01"]
    assert me.address == config.address, "the inventory does not move this host"
