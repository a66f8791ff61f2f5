"""Why a host stands where it stands: by its own word, and without it by what is known."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from p2pdeploy.codec import FrameReader, decode, encode, frame
from p2pdeploy.errors import NotFoundError, TrustError
from p2pdeploy.ids import RolloutId
from p2pdeploy.messages.api import ErrorBody, Reason
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.host import HostReply, Refusal, Why, WhyRequest
from p2pdeploy.trust.host_identity import load_identity
from p2pdeploy.trust.streams import accept_peer
from p2pdeploy.trust.tls import server_context
from p2ptracker.cells.daemons import WHY_TIMEOUT_S
from p2ptracker.cells.fleet import host_views
from tests.p2ptracker.rollout_bench import EVERYBODY, HELLO, World, inventory
from tests.trust_folder import enrol

HELLO_1, HELLO_2 = RolloutId("hello-1"), RolloutId("hello-2")


@pytest.fixture
async def world(world: World) -> World:
    await world.apply("1")
    return world


async def ask(world: World, host: str = "w2", rollout: RolloutId = HELLO_1) -> list[Reason]:
    return list(await world.desk.why(rollout, host))


@asynccontextmanager
async def a_daemon(
    world: World, name: str, reply: HostReply | None, *, identity: str = ""
) -> AsyncGenerator[None]:
    """Answers at the host's own address as its daemon would; None: takes requests and is mute."""
    host = next(host for host in inventory() if host.name == name)
    who = next(other for other in inventory() if other.name == (identity or name))
    enrol(world.folder, who, world.folder / "identity")
    files = load_identity(world.folder / "identity", who.name).files
    context = server_context(files, demands_certificate=True)

    async def serve(plain: trio.SocketStream) -> None:
        try:
            stream, _ = await accept_peer(plain, context)
        except TrustError:
            return  # the caller did not believe us
        reader = FrameReader()
        while data := await stream.receive_some(4096):
            reader.feed(bytes(data))
            for payload in reader:
                request = decode(payload, WhyRequest, bytes_max=4096)
                assert request.service == HELLO
                if reply is not None:
                    await stream.send_all(frame(encode(reply)))
                    return

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(host.host_port, host=host.address)
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield
        nursery.cancel_scope.cancel()


_HOLD = Why(service=HELLO, code="gate", message="fd0 has 1 of 2 healthy")


async def test_a_host_tells_itself_what_holds_it(world: World) -> None:
    world.say(("w2",), world.plan().plan_seq, Rank.STAGED)
    async with a_daemon(world, "w2", _HOLD):
        assert await ask(world) == [
            Reason(code="gate", message="fd0 has 1 of 2 healthy", host="w2", fault_domain="fd0")
        ]


async def test_of_a_host_that_nothing_holds_its_last_word_is_told(world: World) -> None:
    world.say(("w2",), world.plan().plan_seq, Rank.FAILED)
    async with a_daemon(world, "w2", Why(service=HELLO, code="", message="nothing holds it")):
        (reason,) = await ask(world)
    assert (reason.code, reason.host, reason.fault_domain) == ("exited", "w2", "fd0")
    assert reason.message.startswith("exited with 1")


async def test_of_a_host_that_is_down_it_says_so_and_what_is_known(world: World) -> None:
    world.say(("w2",), world.plan().plan_seq, Rank.STAGED)
    silent, known = await ask(world)
    assert (silent.code, silent.host) == ("host-silent", "w2")
    assert "cannot be reached" in silent.message
    assert known.code == "staged"
    assert known.message == "staged"


async def test_a_host_that_failed_is_told_with_its_failure_after_it_went_back(
    world: World,
) -> None:
    seq = await begin_second(world)
    world.say(("w1", "w3", "w4"), seq, Rank.STAGED, runs="1")
    world.say(("w2",), seq, Rank.FAILED, runs="1")
    await world.look()
    world.say(EVERYBODY, seq + 1, Rank.HEALTHY, runs="1")
    await world.look()
    view = await world.desk.get(HELLO_2)
    assert view.state == "rolled-back"
    assert [(f.host, f.message) for f in view.failures] == [("w2", "exited with 1")]
    assert [(d.name, d.states) for d in view.fault_domains] == [
        ("fd0", {"rolled-back": 1, "unchanged": 1}),
        ("fd1", {"unchanged": 2}),
    ]
    async with a_daemon(world, "w2", Why(service=HELLO, code="", message="nothing holds it")):
        failure, now = await ask(world, "w2", HELLO_2)
    assert (failure.code, failure.message) == ("exited", "failed on 2: exited with 1")
    assert now.message == "healthy on 1"
    rows = await world.desk.hosts(HELLO_2)
    assert [(row.host, row.state, row.version, row.reason) for row in rows] == [
        ("w2", "rolled-back", "1", "exited with 1"),
        ("w4", "unchanged", "1", ""),
        ("w1", "unchanged", "1", ""),
        ("w3", "unchanged", "1", ""),
    ]
    assert {row.state for row in await world.desk.hosts(HELLO_1)} == {"moved-on"}


async def test_a_host_that_has_yet_to_change_is_told_by_this_rollout_not_by_the_last(
    world: World,
) -> None:
    seq = await begin_second(world)
    world.say(("w1", "w2"), seq, Rank.STAGED, runs="1")
    states = {row.host: (row.state, row.version) for row in await world.desk.hosts(HELLO_2)}
    assert states["w1"] == states["w2"] == ("staged", "1")
    assert states["w3"] == ("waiting", "1")


async def test_counts_and_reason_are_of_the_same_moment(world: World) -> None:
    await world.look()
    seq = world.plan().plan_seq
    world.say(EVERYBODY, seq, Rank.STAGED)
    await world.look()
    world.say(("w2", "w4"), seq, Rank.HEALTHY, runs="1")
    view = await world.desk.get(HELLO_1)  # no look since
    assert [domain.healthy for domain in view.fault_domains] == [2, 0]
    assert view.reasons[0].message == "2 of 4 hosts to go, now in fd1"
    world.say(("w1", "w3"), seq, Rank.HEALTHY, runs="1")
    view = await world.desk.get(HELLO_1)
    assert view.state == "running", "that it is complete is for a look to say"
    assert [reason.code for reason in view.reasons] == ["ending"]


async def test_what_waits_for_another_rollout_does_not_say_that_it_goes_on(world: World) -> None:
    await world.look()
    await world.apply("1", service="api")
    await world.look()
    reasons = await ask(world, "", RolloutId("api-1"))
    assert "waits-for" in {reason.code for reason in reasons}
    assert "activating" not in {reason.code for reason in reasons}


async def test_a_host_that_is_too_slow_does_not_keep_an_operator_waiting(
    world: World, autojump_clock: MockClock
) -> None:
    begun = trio.current_time()
    async with a_daemon(world, "w2", None):
        silent, known = await ask(world)
    assert silent.code == "host-silent"
    assert known.code == "no-word"
    assert trio.current_time() - begun == pytest.approx(WHY_TIMEOUT_S)


async def test_an_answer_of_another_host_is_not_believed(world: World) -> None:
    async with a_daemon(world, "w2", _HOLD, identity="w3"):
        silent, _ = await ask(world)
    assert silent.code == "host-silent"
    assert "not host w2" in silent.message


async def test_a_host_that_never_had_the_service_says_that(world: World) -> None:
    error = ErrorBody(code="not-found", message="this host has never had 'hello'")
    async with a_daemon(world, "w2", Refusal(error=error)):
        assert await ask(world) == [Reason(code="not-found", message=error.message, host="w2")]


@pytest.mark.parametrize("host", ["d1", "nobody"])
async def test_a_host_outside_the_rollouts_cells_is_not_found(world: World, host: str) -> None:
    with pytest.raises(NotFoundError) as refused:
        await ask(world, host)
    assert refused.value.code == "no-host"


async def test_a_rollout_tells_what_its_fault_domains_wait_for(world: World) -> None:
    world.say(("w2", "w4"), world.plan().plan_seq, Rank.STAGED)
    await world.look()
    reasons = await ask(world, "")
    assert reasons[0].code == "activating"
    assert {reason.fault_domain for reason in reasons if reason.code == "waits"} == {"fd1"}


async def test_a_host_is_told_for_whom_its_rollout_is_held(world: World) -> None:
    await end(world)
    world.say(("w4",), 0, Rank.ACCEPTED, runs="1")  # what it was doing, nobody knows
    await world.apply("2", hosts=("w2",))
    await world.look()
    (held,) = [r for r in await ask(world, "", HELLO_2) if r.code == "waits-for-predecessor"]
    assert held.host == "w4"
    assert held.message.startswith("waits in lab.web.c0 until ")
    assert held in await ask(world, "w2", HELLO_2)
    assert held not in await ask(world, "w1", HELLO_2), "it takes no part"


async def test_a_host_that_what_settled_leaves_out_is_told_so(world: World) -> None:
    seq = await begin_second(world, hosts=("w1", "w2"))
    in_between = await ask(world, "w1", HELLO_2)
    world.say(("w1", "w2"), seq, Rank.HEALTHY, runs="2")
    await world.look()
    (left_out,) = [r for r in await ask(world, "w4") if r.code == "not-settled-here"]
    assert "2 of hello-2, is not about this host" in left_out.message
    for among in (in_between, await ask(world, "w1"), await ask(world, "w1", HELLO_2)):
        assert "not-settled-here" not in {reason.code for reason in among}
    views = host_views(world.plane.cells.all(), limit=9, now=trio.current_time(), wall_s=world.now)
    told = {str(view.name): [service.reason for service in view.services] for view in views}
    assert told["w1"] == told["w2"] == [""]
    assert told["w3"] == told["w4"] == [left_out.message]


async def end(world: World) -> None:
    """hello-1 completes everywhere."""
    await world.look()
    world.say(("w1", "w2", "w3", "w4"), world.plan().plan_seq, Rank.HEALTHY, runs="1")
    await world.look()
    assert await world.state(HELLO_1) == "complete"


async def begin_second(world: World, **changes: object) -> int:
    """hello-1 completes everywhere, hello-2 begins; the number of its plan."""
    await end(world)
    await world.apply("2", **changes)
    await world.look()
    return world.plan().plan_seq


async def test_while_going_back_it_is_told_which_hosts_the_others_wait_for(world: World) -> None:
    plan, busy = world.plan(), ("w2", "w4")
    assert plan.max_unavailable == len(busy)
    world.say(("w1", "w3"), plan.plan_seq, Rank.HEALTHY, runs="1")
    world.say(busy, plan.plan_seq, Rank.STARTED)
    await world.desk.steer(HELLO_1, "abort")
    await world.look()
    held = [reason for reason in await ask(world, "") if reason.code == "budget-held"]
    assert [reason.host for reason in held] == list(busy)
    assert held[0].message.startswith("w2 may still be busy until ")
    assert set(held) <= set(await ask(world, "w1"))
    assert set(held) & set(await ask(world, "w2")) == {held[1]}, "it does not wait for itself"
    world.say(("w1", "w3"), plan.plan_seq + 1, Rank.HEALTHY)
    await world.look()
    assert set(held).isdisjoint(await ask(world, "w1")), "its fault domain is back"
