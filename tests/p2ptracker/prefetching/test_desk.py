"""Prefetches at the control plane: asked for, seen, cancelled, and asked for by rollouts."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.errors import NotFoundError, RefusedError
from p2pdeploy.gossip.state import item_of
from p2pdeploy.ids import Digest, HostName, RolloutId, ServiceName, Version
from p2pdeploy.limits import NUMBER_MAX, PREFETCH_KEEP_S
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.orders import Prefetch
from p2pdeploy.messages.prefetch import PrefetchRequest
from p2pdeploy.trust.envelope import seal
from tests.p2ptracker.approvers import Approvers
from tests.p2ptracker.rollout_bench import EVERYBODY, HELLO, WEB_CELL, World

SERVICE = ServiceName(HELLO)


def asks(version: str = "1", **changes: object) -> PrefetchRequest:
    fields: dict[str, object] = {"environment": "lab", "machine_function": "web"}
    if "hosts" in changes:
        fields = {}
    return PrefetchRequest(service=SERVICE, version=Version(version), **{**fields, **changes})  # type: ignore[arg-type]


def asked_of(world: World) -> dict[str, str]:
    """Version and the rollout that asked for it, of what the cell was told to prefetch."""
    order = world.order(f"prefetch/{HELLO}")
    assert isinstance(order, Prefetch)
    return {each.build.version: each.rollout_id for each in order.builds}


def has(world: World, name: str, version: str) -> None:
    """A host attests that it has *version*."""
    replica = world.plane.cells.get(WEB_CELL)
    word = Attestation(
        cell=WEB_CELL,
        host=HostName(name),
        service=SERVICE,
        fault_domain=replica.hosts[HostName(name)].fault_domain,
        epoch=1,
        seq=1,
        prefetched=(Digest(world.digests[HELLO, version]),),
    )
    world.hear(word)


async def test_a_prefetch_tells_the_cell_and_nothing_else_happens(world: World) -> None:
    view = await world.plane.prefetches.begin(asks())
    assert (view.staged, view.total, view.rollout) == (0, len(EVERYBODY), "")
    assert view.expires_at.timestamp() == world.now + PREFETCH_KEEP_S
    world.sync()
    await world.look(60)
    assert asked_of(world) == {"1": ""}
    for key in (f"rollout/{HELLO}", f"plan/{HELLO}", f"settled/{HELLO}", "go"):
        assert world.order(key) is None, key


async def test_what_hosts_have_is_what_they_attest(world: World) -> None:
    await world.plane.prefetches.begin(asks())
    has(world, "w1", "1")
    has(world, "w2", "2")
    view = world.plane.prefetches.get(SERVICE, "1")
    assert (view.staged, view.total) == (1, len(EVERYBODY))
    assert [row.host for row in view.hosts if row.staged] == ["w1"]
    [listed] = world.plane.prefetches.list(SERVICE)
    assert (listed.staged, listed.hosts) == (1, ())


async def test_it_is_there_after_a_restart_and_gone_after_its_time(world: World) -> None:
    await world.plane.prefetches.begin(asks(keep_s=3600.0))
    await world.restart()
    assert [view.version for view in world.plane.prefetches.list("")] == ["1"]
    assert world.desk.versions_in_use(SERVICE) >= {"1"}, "it must stay signed"
    world.now += 3600.0
    assert world.plane.prefetches.list("") == []
    assert "1" not in world.desk.versions_in_use(SERVICE)


async def test_cancelling_it_leaves_the_others(world: World) -> None:
    await world.plane.prefetches.begin(asks("1"))
    await world.plane.prefetches.begin(asks("2"))
    await world.plane.prefetches.cancel(SERVICE, "1")
    assert asked_of(world) == {"2": ""}
    with pytest.raises(NotFoundError):
        await world.plane.prefetches.cancel(SERVICE, "1")


async def test_what_nobody_published_or_no_host_is_meant_by_is_refused(world: World) -> None:
    with pytest.raises(NotFoundError):
        await world.plane.prefetches.begin(asks("9"))
    with pytest.raises(RefusedError):
        await world.plane.prefetches.begin(asks(environment="", machine_function=""))
    with pytest.raises(RefusedError):
        await world.plane.prefetches.begin(asks(hosts=(HostName("nobody"),)))
    assert world.order(f"prefetch/{HELLO}") is None


async def test_a_release_that_lacks_signatures_is_not_prefetched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.plane.prefetches, "_is_signed", lambda _: False)
    with pytest.raises(RefusedError) as raised:
        await world.plane.prefetches.begin(asks())
    assert raised.value.code == "release-unsigned"


async def test_named_hosts_are_named_in_the_order(world: World) -> None:
    view = await world.plane.prefetches.begin(asks(hosts=(HostName("w1"),)))
    assert [row.host for row in view.hosts] == ["w1"]
    order = world.order(f"prefetch/{HELLO}")
    assert isinstance(order, Prefetch)
    assert order.builds[0].hosts == ("w1",)


async def test_a_rollout_that_waits_for_people_is_prefetched_until_it_begins(
    world: World, approvers: Approvers
) -> None:
    view = await world.apply("1")
    assert view.state == "unsigned"
    assert asked_of(world) == {"1": "hello-1"}
    await world.look()
    assert asked_of(world) == {"1": "hello-1"}
    await approvers.sign("hello-1", 0)
    await approvers.sign("hello-1", 1)
    assert world.order(f"plan/{HELLO}") is not None
    await world.look()
    assert asked_of(world) == {}


async def test_a_rollout_that_is_given_up_is_prefetched_no_more(
    world: World, approvers: Approvers
) -> None:
    await world.apply("1")
    await world.desk.steer(RolloutId("hello-1"), "abort")
    assert asked_of(world) == {}


async def test_what_a_person_asked_for_outlives_a_rollout_of_it(
    world: World, approvers: Approvers
) -> None:
    await world.plane.prefetches.begin(asks())
    await world.apply("1")
    assert asked_of(world) == {"1": ""}
    await world.desk.steer(RolloutId("hello-1"), "abort")
    await world.look()
    assert asked_of(world) == {"1": ""}


async def test_a_rollout_that_begins_at_once_needs_no_prefetch(world: World) -> None:
    await world.apply("1")
    assert world.order(f"prefetch/{HELLO}") is None
    assert world.order(f"plan/{HELLO}") is not None, "its hosts fetch by that, all at once"


async def test_a_thief_who_uses_the_last_number_stops_nothing_else(
    world: World, approvers: Approvers
) -> None:
    await world.apply("1")
    held = world.order(f"prefetch/{HELLO}")
    assert isinstance(held, Prefetch)
    stolen = msgspec.structs.replace(held, prefetch_seq=NUMBER_MAX)
    replica = world.plane.cells.get(WEB_CELL)
    envelope = seal(stolen, world.plane.trust.keys["deployer"])
    assert replica.put(item_of(stolen, envelope), stolen, 0.0)
    await world.desk.steer(RolloutId("hello-1"), "abort")
    await world.look(5)  # which would end it, again and again
    assert world.order(f"prefetch/{HELLO}") == stolen
    with pytest.raises(RefusedError) as raised:
        await world.plane.prefetches.cancel(SERVICE, "1")
    assert raised.value.code == "number-stuck"
