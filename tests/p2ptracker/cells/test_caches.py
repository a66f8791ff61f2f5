"""What lies on many hosts: page by page, who is silent with its reason, digests with versions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
import trio

from p2pdeploy.errors import RefusedError, UnavailableError
from p2pdeploy.host_client import HostAddress
from p2pdeploy.ids import Digest, HostName, Version
from p2pdeploy.messages.cache import (
    CACHE_HOSTS_MAX,
    Cache,
    CachedRelease,
    CacheTarget,
    Pruned,
)
from p2pdeploy.topology import Host
from p2ptracker.cells import caches
from p2ptracker.cells.caches import Caches
from p2ptracker.storage.releases import find_release
from tests.p2ptracker.rollout_bench import HELLO, World

STRANGE = Digest("ef" * 32)


def a_release(digest: Digest) -> CachedRelease:
    return CachedRelease(
        digest=digest, service=HELLO, size_bytes=7, state="unused", staged_at=0, used_at=1_000.5
    )


class Hosts:
    """Daemons that have one release each; some are silent."""

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        self.silent: set[str] = set()
        self.pruned: list[str] = []

    async def ask_cache(self, host: HostAddress) -> Cache:
        await trio.lowlevel.checkpoint()
        if host.name in self.silent:
            raise UnavailableError("no answer within 5 s", where=str(host))
        gone = host.name in self.pruned
        return Cache(
            releases=[] if gone else [a_release(self.digest)],
            free_bytes=5,
            reserve_bytes=1,
            held_bytes=0,
            waiting=2,
            needed_bytes=9,
        )

    async def ask_prune(self, host: HostAddress) -> Pruned:
        await self.ask_cache(host)
        self.pruned.append(host.name)
        return Pruned(releases=[a_release(self.digest)])


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    made = Hosts(STRANGE)
    monkeypatch.setattr(caches, "ask_cache", made.ask_cache)
    monkeypatch.setattr(caches, "ask_prune", made.ask_prune)
    return made


def over(world: World, inventory: Sequence[Host] | None = None) -> Caches:
    plane = world.plane
    return Caches(inventory or plane.inventory, plane.daemons, plane.database)


def named(*names: str) -> CacheTarget:
    return CacheTarget(hosts=tuple(HostName(name) for name in names))


async def test_a_digest_is_told_with_every_version_that_has_it(world: World, hosts: Hosts) -> None:
    await world.publish("1.0.0")
    release = await world.plane.database.read(
        lambda connection: find_release(connection, HELLO, Version("1.0.0"))
    )
    assert release is not None
    hosts.digest = release.manifest_digest
    (view,) = await over(world).show(named("w1"))
    (cached,) = view.releases
    assert (cached.service, cached.versions, cached.size_bytes) == (HELLO, ["1.0.0"], 7)
    assert (cached.staged_at, cached.used_at.timestamp()) == (None, 1_000.0)
    assert (view.free_bytes, view.waiting, view.needed_bytes) == (5, 2, 9)


async def test_a_release_that_the_registry_does_not_know_has_no_version(
    world: World, hosts: Hosts
) -> None:
    (view,) = await over(world).show(named("w1"))
    assert view.releases[0].versions == []


async def test_a_silent_host_is_told_with_its_reason_and_keeps_nobody_else_back(
    world: World, hosts: Hosts
) -> None:
    hosts.silent = {"w2"}
    first, second, third = await over(world).show(named("w3", "w1", "w2"))
    assert [view.host for view in (first, second, third)] == ["w1", "w2", "w3"]
    assert second.error is not None
    assert (second.error.code, second.releases) == ("unavailable", ())
    assert first.error is None
    assert third.releases


async def test_only_what_a_target_names_is_pruned(world: World, hosts: Hosts) -> None:
    hosts.silent = {"w2"}
    views = await over(world).prune(named("w1", "w2"))
    assert hosts.pruned == ["w1"]
    assert [len(view.pruned) for view in views] == [1, 0]
    assert views[0].releases == ()


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (CacheTarget(), "no-target"),
        (CacheTarget(environment="lab"), "no-target"),
        (CacheTarget(environment="lab", machine_function="nothing"), "empty-target"),
        (named("w1", "w99"), "unknown-host"),
    ],
)
async def test_pruning_needs_hosts_that_there_are(
    world: World, hosts: Hosts, target: CacheTarget, code: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        await over(world).prune(target)
    assert refused.value.code == code
    assert hosts.pruned == []


async def test_a_large_target_is_asked_page_by_page(world: World, hosts: Hosts) -> None:
    [model, *_] = world.plane.inventory
    many = [
        msgspec.structs.replace(model, name=HostName(f"x{number:03}"))
        for number in range(CACHE_HOSTS_MAX + 3)
    ]
    for host in many:
        world.plane.daemons.learn(host)
    caches = over(world, many)
    first = await caches.show(CacheTarget())
    assert len(first) == CACHE_HOSTS_MAX
    rest = await caches.show(CacheTarget(after=first[-1].host))
    assert [view.host for view in first + rest] == [host.name for host in many]
