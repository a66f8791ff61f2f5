"""What a host does with its cell's links to other cells, and how often it asks for them."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import trio
from msgspec.structs import replace

from p2pdaemon import learn_gateways, tries
from p2pdaemon.doorkeeper import Doorkeeper
from p2pdaemon.learn_gateways import GatewayLearner
from p2pdaemon.mesh import CellMesh
from p2pdaemon.tries import Tries
from p2pdeploy.errors import UnavailableError
from p2pdeploy.gossip.effects import MemberChanged
from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.messages.gateways import GatewayLink, Gateways
from p2pdeploy.messages.gossip import Member, Status
from p2pdeploy.swarm.stripes import ALL_STRIPES, STRIPES

ELSEWHERE = Gateways(
    links=tuple(
        GatewayLink(stripe=stripe, host=HostName(f"g{stripe}"), address=f"10.0.0.{stripe}", port=1)
        for stripe in range(STRIPES)
    )
)


class Bench:
    """One host of a cell of twelve, in one fault domain; membership and answers as told."""

    def __init__(self, state_dir, me: HostName) -> None:
        self.members = tuple(
            Member(HostName(f"h{n:02}"), f"127.0.0.{n + 1}", 7401, 7402, FaultDomain("fd0"))
            for n in range(12)
        )
        self.told, self.down = ELSEWHERE, False
        self.asked_at: list[float] = []
        self.admitted: set[str] = set()
        self.reaches_far = False
        self.mesh = CellMesh(me, lambda: self.members)
        self.doorkeeper = Doorkeeper(
            lambda: self.members,
            self.mesh.linked_addresses,
            SimpleNamespace(admit=self.admit),  # pyright: ignore[reportArgumentType]
        )
        self.state_dir = state_dir
        self.learner = self.make_learner()

    def make_learner(self) -> GatewayLearner:
        return GatewayLearner(
            SimpleNamespace(cell=CellId("lab.web.c0"), state_dir=self.state_dir),  # pyright: ignore[reportArgumentType]
            self,  # pyright: ignore[reportArgumentType]
            self.mesh,
            self.doorkeeper.tell,
            Tries(random.Random(1), lambda: None),
        )

    def admit(self, addresses, *, far) -> None:
        far = set(far)
        self.admitted, self.reaches_far = {*addresses, *far}, bool(far)

    async def gateways_of(self, cell: CellId) -> Gateways:
        await trio.lowlevel.checkpoint()
        self.asked_at.append(trio.current_time())
        if self.down:
            raise UnavailableError("the control plane is down")
        return self.told

    @asynccontextmanager
    async def learning(self) -> AsyncGenerator[None]:
        """Ask on the real clock, since files are read in threads."""
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.learner.learn_gateways)
                yield
                nursery.cancel_scope.cancel()

    async def ask(self, times: int = 1) -> None:
        """Until the control plane was asked so often, and what it said was kept."""
        async with self.learning():
            await until(lambda: len(self.asked_at) > times)

    def lose(self, name: HostName) -> None:
        """Gossip finds that a member is gone, and tells everybody."""
        [gone] = [member for member in self.members if member.name == name]
        dead = replace(gone, status=Status.UNREACHABLE)
        self.members = tuple(dead if member.name == name else member for member in self.members)
        for part in (self.mesh, self.doorkeeper, self.learner):
            part.hear(MemberChanged(dead))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 nothing tells what a thread wrote
        await trio.sleep(0.005)


def who_is(folder, *, a_gateway: bool) -> HostName:
    names = [HostName(f"h{number:02}") for number in range(12)]
    return next(name for name in names if Bench(folder, name).mesh.is_gateway() is a_gateway)


@pytest.fixture
def gateway(tmp_path) -> Bench:
    return Bench(tmp_path, who_is(tmp_path, a_gateway=True))


@pytest.fixture
def other(tmp_path) -> Bench:
    return Bench(tmp_path, who_is(tmp_path, a_gateway=False))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    """A five hundredth of what they are."""
    for name in ("ASK_FIRST_S", "GATEWAY_ASKS_S", "OTHERS_ASK_S"):
        monkeypatch.setattr(learn_gateways, name, getattr(learn_gateways, name) / 500)
    monkeypatch.setattr(tries, "RETRY_FIRST_S", 0.01)


async def test_a_gateway_is_linked_with_those_of_its_stripes_and_admits_them(gateway: Bench):
    assert not gateway.mesh.has_trunk()
    assert gateway.mesh.stripes() == ALL_STRIPES
    await gateway.ask()
    led = gateway.mesh.stripes()
    assert led.bit_count() == 1
    stripe = led.bit_length() - 1
    assert gateway.mesh.has_trunk()
    assert [near.name for near in gateway.mesh.trunk()] == [f"g{stripe}"]
    members = {member.address for member in gateway.members}
    assert gateway.admitted == members | {f"10.0.0.{stripe}"}
    assert gateway.reaches_far


async def test_who_is_no_gateway_draws_nothing_and_admits_nobody_of_another_cell(other: Bench):
    await other.ask()
    assert other.mesh.stripes() == 0
    assert not other.mesh.has_trunk()
    assert other.mesh.trunk() == []
    assert other.admitted == {member.address for member in other.members}
    assert not other.reaches_far


async def test_a_gateway_asks_again_and_again_and_others_ever_less(gateway: Bench, other: Bench):
    await gateway.ask(times=12)
    *_, earlier, later = gateway.asked_at
    assert later - earlier >= 0.75 * learn_gateways.GATEWAY_ASKS_S
    await other.ask(times=5)
    gaps = [later - earlier for earlier, later in itertools.pairwise(other.asked_at)]
    for number, gap in enumerate(gaps):
        assert gap >= learn_gateways.ASK_FIRST_S * 2**number


async def test_who_follows_a_gateway_asks_at_once_and_takes_over_its_links(
    other: Bench, monkeypatch
):
    monkeypatch.setattr(learn_gateways, "ASK_FIRST_S", 3_600.0)
    async with other.learning():
        await until(lambda: len(other.asked_at) == 1)
        for member in other.members:
            if member.name != other.mesh._me and not other.mesh.is_gateway():
                other.lose(member.name)
        await until(lambda: len(other.asked_at) == 2)
    assert len(other.mesh.trunk()) == other.mesh.stripes().bit_count() == 1
    assert len(other.admitted - {member.address for member in other.members}) == 1


async def test_links_go_when_the_control_plane_says_so_and_their_hosts_with_them(gateway: Bench):
    await gateway.ask()
    gateway.told = Gateways()
    await gateway.ask(times=4)
    assert gateway.mesh.trunk() == []
    assert gateway.admitted == {member.address for member in gateway.members}


async def test_links_are_kept_while_the_control_plane_is_away_and_over_a_restart(gateway: Bench):
    await gateway.ask()
    linked = gateway.mesh.trunk()
    assert linked
    gateway.down = True
    await gateway.ask(times=4)
    assert gateway.mesh.trunk() == linked
    again = Bench(gateway.state_dir, gateway.mesh._me)
    again.down = True
    await again.ask()
    assert again.mesh.trunk() == linked


async def test_kept_links_that_are_damaged_are_asked_for_anew(gateway: Bench):
    (gateway.state_dir / "gateways.json").write_bytes(b"{")
    await gateway.ask()
    assert gateway.mesh.has_trunk()
