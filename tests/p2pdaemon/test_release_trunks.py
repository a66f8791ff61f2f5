"""Where the cell has groups a release is offered between them too, and a host knows its place."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from p2pdaemon.mesh import CellMesh
from p2pdaemon.release_torrents import ReleaseTorrents
from p2pdeploy.errors import UnavailableError
from p2pdeploy.gossip.effects import MemberChanged
from p2pdeploy.ids import FaultDomain, HostName, ServiceName
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.gossip import Member, Status
from p2pdeploy.messages.swarm import SourceBytes
from p2pdeploy.payload.build import build
from p2pdeploy.payload.torrent import piece_count
from p2pdeploy.swarm.stripes import ALL_STRIPES
from tests.p2pdaemon.origin import a_tree


class Swarm:
    """A session that takes torrents in and lets them go."""

    authority_pem = b""

    def __init__(self) -> None:
        self.here: list[SimpleNamespace] = []
        self.refuses_trunks = False
        self.may_add = trio.Event()
        self.may_add.set()

    async def add(self, torrent_bytes, paths, have, gaps, *, wants_all=True):
        await self.may_add.wait()
        if not wants_all and self.refuses_trunks:
            raise UnavailableError("no")
        torrent = SimpleNamespace(
            complete=all(have),
            is_trunk=not wants_all,
            have_list=lambda: have,
            received=lambda _members: SourceBytes(),
        )

        async def remove() -> None:
            await trio.lowlevel.checkpoint()
            self.here.remove(torrent)

        torrent.remove = remove
        self.here.append(torrent)
        return torrent


class Cell:
    """The members that gossip tells of."""

    def __init__(self, racks: int, hosts: int) -> None:
        self.members = tuple(
            Member(
                HostName(f"h{rack}{number}"),
                f"127.0.{rack}.{number + 1}",
                7401,
                7402,
                FaultDomain(f"rack{rack}"),
            )
            for rack in range(racks)
            for number in range(hosts)
        )

    def mesh(self) -> CellMesh:
        return CellMesh(HostName("h00"), lambda: self.members)


@pytest.fixture
def manifest(tmp_path):
    tree = a_tree(tmp_path / "tree", b"x" * 100_000)
    return build(tree, ServiceName("hello")).manifest


def torrents_of(store, cell: Cell) -> tuple[ReleaseTorrents, Swarm]:
    swarm = Swarm()
    return ReleaseTorrents(store, swarm, cell.mesh()), swarm  # pyright: ignore[reportArgumentType]


def test_a_host_of_a_rack_knows_its_group_and_the_carriers_elsewhere():
    mesh = Cell(racks=2, hosts=4).mesh()
    assert {neighbour.name for neighbour in mesh.neighbours()} == {"h01", "h02", "h03"}
    assert mesh.has_trunk()
    assert mesh.stripes().bit_count() == 2
    assert all(neighbour.name.startswith("h1") for neighbour in mesh.trunk())
    assert any(neighbour.name.startswith("h1") for neighbour in mesh.farther())


def test_a_host_of_a_cell_without_groups_draws_all_stripes():
    mesh = Cell(racks=3, hosts=3).mesh()
    assert not mesh.has_trunk()
    assert mesh.stripes() == ALL_STRIPES
    assert mesh.trunk() == []


def test_a_place_is_taken_anew_when_membership_changed():
    cell = Cell(racks=2, hosts=4)
    mesh = cell.mesh()
    assert mesh.has_trunk()
    gone = cell.members[-1]
    dead = replace(gone, status=Status.UNREACHABLE)
    cell.members = (*cell.members[:-1], dead)
    mesh.hear(MemberChanged(dead))
    assert not mesh.has_trunk()


async def test_a_release_has_a_trunk_where_there_are_groups_and_both_go_together(store, manifest):
    torrents, swarm = torrents_of(store, Cell(racks=2, hosts=4))
    digest = digest_of(manifest.to_bytes())
    await torrents.seed(digest, manifest)
    assert [torrent.is_trunk for torrent in swarm.here] == [False, True]
    assert torrents.without_whole_trunk() == []
    await torrents.drop(digest)
    assert swarm.here == []


async def test_a_release_has_no_trunk_in_a_cell_without_groups(store, manifest):
    torrents, swarm = torrents_of(store, Cell(racks=1, hosts=8))
    digest = digest_of(manifest.to_bytes())
    await torrents.seed(digest, manifest)
    assert [torrent.is_trunk for torrent in swarm.here] == [False]
    assert torrents.without_whole_trunk() == []


async def test_a_trunk_that_cannot_be_added_leaves_nothing_behind(store, manifest):
    torrents, swarm = torrents_of(store, Cell(racks=2, hosts=4))
    swarm.refuses_trunks = True
    with pytest.raises(UnavailableError):
        await torrents.seed(digest_of(manifest.to_bytes()), manifest)
    assert swarm.here == []


async def test_a_trunk_that_holds_stripes_alone_is_made_whole_when_the_release_is(store, manifest):
    torrents, swarm = torrents_of(store, Cell(racks=2, hosts=4))
    digest = digest_of(manifest.to_bytes())
    await torrents.seed(digest, manifest)
    swarm.here[1].complete = False
    assert torrents.without_whole_trunk() == [digest]
    await torrents.seed_trunk(digest, manifest)
    assert torrents.without_whole_trunk() == []
    assert [torrent.is_trunk for torrent in swarm.here] == [False, True]


async def test_a_fetch_is_in_its_group_at_once_and_gets_a_trunk_when_it_asks(store, manifest):
    torrents, swarm = torrents_of(store, Cell(racks=2, hosts=4))
    digest = digest_of(manifest.to_bytes())
    await torrents.add(digest, manifest, [False] * piece_count(manifest), {})
    assert [torrent.is_trunk for torrent in swarm.here] == [False]
    for _ in range(2):  # it is added once
        await torrents.open_trunk(digest, manifest, {})
        assert [torrent.is_trunk for torrent in swarm.here] == [False, True]


async def test_a_trunk_being_added_while_its_release_is_dropped_goes_as_well(store, manifest):
    torrents, swarm = torrents_of(store, Cell(racks=2, hosts=4))
    digest = digest_of(manifest.to_bytes())
    await torrents.add(digest, manifest, [True] * piece_count(manifest), {})
    swarm.may_add = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(torrents.seed_trunk, digest, manifest)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(torrents.drop, digest)
        await trio.testing.wait_all_tasks_blocked()
        swarm.may_add.set()
    assert swarm.here == []


async def test_a_release_that_was_dropped_gets_no_trunk(store, manifest):
    torrents, swarm = torrents_of(store, Cell(racks=2, hosts=4))
    digest = digest_of(manifest.to_bytes())
    with pytest.raises(UnavailableError):
        await torrents.open_trunk(digest, manifest, {})
    assert swarm.here == []
