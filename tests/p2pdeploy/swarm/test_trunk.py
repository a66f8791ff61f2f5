"""Two groups with real sessions: each piece crosses once, by its carriers, and gets everywhere."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import CellId, FaultDomain
from p2pdeploy.messages.deal import DealRequest
from p2pdeploy.payload.torrent import info_hash_v2, torrent_bytes
from p2pdeploy.payload.verified_pieces import VerifiedPieces
from p2pdeploy.swarm.deal_terms import DealConfig
from p2pdeploy.swarm.fetch_terms import FetchConfig
from p2pdeploy.swarm.overlay import Place, place_of, plan_cell
from p2pdeploy.swarm.stripes import ALL_STRIPES, pieces_of, stripe_of
from p2pdeploy.swarm.torrent import Torrent
from p2pdeploy.swarm.trunk import Trunk
from tests.p2pdeploy.swarm.swarm_leaves import SWARM_CA

GROUP_HOSTS = 4
FETCH_S = 60.0


def trunk_torrent(release) -> bytes:
    return torrent_bytes(release.manifest, release.digest, SWARM_CA.pem, trunk=True)


class PlacedMesh:
    """A mesh by the overlay of all hosts of the test."""

    def __init__(self, hosts, place: Place) -> None:
        self.hosts, self.place = hosts, place
        self.is_cut = False  # the trunk's links
        self.has_groups = True

    def neighbours(self):
        return [self.hosts[name].neighbour for name in self.place.neighbours]

    def farther(self):
        return [self.hosts[name].neighbour for name in self.place.farther]

    def has_trunk(self) -> bool:
        return self.has_groups

    def trunk(self):
        return [] if self.is_cut else [self.hosts[name].neighbour for name in self.place.trunk]

    def stripes(self) -> int:
        return self.place.stripes if self.has_groups else ALL_STRIPES

    def locate(self, host):
        return self.hosts[host].neighbour if host in self.hosts else None


class PlacedHost:
    """A host with both torrents of one release."""

    def __init__(self, host, mesh: PlacedMesh, group: Torrent, between: Torrent, release) -> None:
        self.host, self.mesh, self.group, self.between = host, mesh, group, between
        self._read = VerifiedPieces(
            release.manifest, [host.root / path for path in release.blobs]
        ).read
        self.may_read = threading.Event()
        self.may_read.set()
        self.opened = trio.Event()
        self.trunk = Trunk(group, between, mesh, self.read_piece)

    def read_piece(self, piece: int) -> bytes | None:
        return self._read(piece) if self.may_read.wait(FETCH_S) else None

    def addresses(self) -> set[str]:
        """With whom it exchanges pieces in its group."""
        return {peer.ip[0] for peer in self.group._handle.get_peer_info()}

    async def open_trunk(self) -> Trunk:
        await trio.lowlevel.checkpoint()
        self.opened.set()
        return self.trunk

    async def fetch(self, origin, stalled_s: float = 60.0) -> None:
        await self.host.fetch(
            self.group,
            origin,
            [],
            config=FetchConfig(connect_s=0.2, stalled_s=stalled_s),
            mesh=self.mesh,
            open_trunk=self.open_trunk,
        )


@asynccontextmanager
async def two_groups(lab, release) -> AsyncGenerator[list[PlacedHost]]:
    hosts = {host.name: host for host in (lab.host() for _ in range(2 * GROUP_HOSTS))}
    domains = {name: FaultDomain(f"rack{number % 2}") for number, name in enumerate(sorted(hosts))}
    plan = plan_cell(domains)
    async with AsyncExitStack() as sessions:
        placed: list[PlacedHost] = []
        for name, host in hosts.items():
            await sessions.enter_async_context(host.session)
            mesh = PlacedMesh(hosts, place_of(name, plan, has_other_cells=False))
            group = await host.add(release)
            nothing = [False] * len(release.spans)
            between = await host.session.add(
                trunk_torrent(release), release.paths(host.root), nothing, wants_all=False
            )
            placed.append(PlacedHost(host, mesh, group, between, release))
        yield placed


def test_the_trunks_torrent_is_another_one_of_the_same_pieces(small_release):
    assert info_hash_v2(trunk_torrent(small_release)) != info_hash_v2(small_release.torrent)
    assert len(trunk_torrent(small_release)) == len(small_release.torrent) + len(b"5:trunki1e")


async def test_each_piece_crosses_between_groups_once_and_gets_everywhere(lab, eight_mib_release):
    release = eight_mib_release
    origin = lab.Origin(release)
    async with two_groups(lab, release) as placed:
        with trio.fail_after(FETCH_S):
            async with trio.open_nursery() as nursery:
                for host in placed:
                    nursery.start_soon(host.fetch, origin)
        assert all(release.is_at(host.host.root) for host in placed)
        crossed = sum(host.trunk.peer_bytes for host in placed)
        assert crossed <= 1.02 * release.size_bytes  # in and out of both groups, once in all
        for host in placed:
            got = [k for k in range(host.between.piece_count) if host.between.has(k)]
            assert all(host.mesh.stripes() >> stripe_of(piece) & 1 for piece in got)
            assert host.group.hash_failures == host.between.hash_failures == 0
    assert origin.dealer.statistics().deals == len(release.spans)


async def test_what_only_one_group_was_dealt_waits_for_the_trunk(lab, small_release):
    async with two_groups(lab, small_release) as placed:
        for host in placed:
            host.mesh.is_cut = True
        async with trio.open_nursery() as nursery:
            for host in placed:
                nursery.start_soon(host.trunk.carry)
                for neighbour in host.mesh.neighbours():
                    host.group.connect(neighbour.address, neighbour.port)
            for piece in range(len(small_release.spans)):
                placed[0].group.add_piece(piece, small_release.piece(piece))
            with trio.fail_after(FETCH_S):
                for host in placed[::2]:
                    await host.group.wait_complete()
            assert not any(host.group.complete for host in placed[1::2])
            for host in placed:
                host.mesh.is_cut = False
                host.trunk.look_again()
            with trio.fail_after(FETCH_S):
                for host in placed:
                    await host.group.wait_complete()
            nursery.cancel_scope.cancel()


async def test_a_group_whose_trunk_is_cut_takes_its_stripes_over_after_a_while(lab, small_release):
    origin = lab.Origin(small_release)
    async with two_groups(lab, small_release) as placed:
        for host in placed:
            host.mesh.is_cut = True
        async with trio.open_nursery() as nursery:
            for host in placed[::2]:
                nursery.start_soon(host.fetch, origin)
            for piece in range(len(small_release.spans)):
                placed[0].group.add_piece(piece, small_release.piece(piece))
        origin.down = True
        with trio.fail_after(FETCH_S):
            async with trio.open_nursery() as nursery:
                for host in placed[1::2]:
                    nursery.start_soon(host.fetch, origin, 1.0)
        group = {host.host.session.address for host in placed[1::2]}
        for host in placed[1::2]:
            assert host.addresses() <= group, "outside there are links of the trunk alone"
            assert not host.between.is_fetching, "and nothing is asked for there any more"


async def test_a_carrier_that_keeps_what_it_is_dealt_does_not_starve_its_group(
    lab, eight_mib_release
):
    """It claims its stripes again and again, draws their pieces, and has none for anybody."""
    release = eight_mib_release
    origin = lab.Origin(release, DealConfig(first_deal_timeout_s=2.0))
    async with two_groups(lab, release) as placed:
        liar = placed[1]
        hosts = placed[3::2]  # of its group; nobody else fetches
        await liar.group.remove()

        async def claim() -> None:
            while True:
                await origin.deal(
                    DealRequest(
                        cell=CellId("lab.web.c0"),
                        manifest_digest=release.digest,
                        host=liar.host.name,
                        have=bytes((len(release.spans) + 7) // 8),
                        stripes=liar.mesh.stripes(),
                    )
                )
                await trio.sleep(0.2)

        with trio.fail_after(FETCH_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(claim)
                async with trio.open_nursery() as fetching:
                    for host in hosts:
                        fetching.start_soon(host.fetch, origin, 1.0)
                nursery.cancel_scope.cancel()
        kept = origin.sent_bytes - release.size_bytes
        assert kept <= release.size_bytes / 4, "its stripes were sent again, and nothing else"


async def test_a_carrier_does_not_ask_other_groups_for_what_its_own_has(lab, eight_mib_release):
    release = eight_mib_release
    async with two_groups(lab, release) as placed:
        late = placed[1]
        everything = range(len(release.spans))
        for host in (*placed[::2], placed[3]):
            for piece in everything:
                host.group.add_piece(piece, release.piece(piece))
                host.between.add_piece(piece, release.piece(piece))
            await host.group.wait_complete()
        for neighbour in late.mesh.neighbours():
            late.group.connect(neighbour.address, neighbour.port)
        with trio.fail_after(FETCH_S):
            while not all(late.group.near >> k & 1 or late.group.has(k) for k in everything):
                await late.group.wait_change()
            late.trunk.look_again()
            await late.group.wait_complete()
        assert late.trunk.peer_bytes == 0


async def test_a_trunk_whose_disk_fails_ends_the_fetch(lab, small_release):
    async with two_groups(lab, small_release) as placed:
        await placed[0].between.remove()
        with trio.fail_after(FETCH_S), pytest.raises(UnavailableError):
            await placed[0].fetch(lab.Origin(small_release))


async def test_a_carrier_that_is_complete_hands_over_its_stripes_before_it_ends(lab, small_release):
    async with two_groups(lab, small_release) as placed:
        carrier = placed[0]
        carrier.may_read.clear()
        with trio.fail_after(FETCH_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(carrier.fetch, lab.Origin(small_release))
                await carrier.group.wait_complete()
                carrier.may_read.set()
        carried = pieces_of(carrier.mesh.stripes(), carrier.group.piece_count)
        assert carrier.between.have() == carried
        assert not carrier.between.is_fetching


async def test_a_fetch_begun_in_one_group_has_a_trunk_once_there_are_others(lab, small_release):
    async with two_groups(lab, small_release) as placed:
        host = placed[0]
        host.mesh.has_groups = False
        origin = lab.Origin(small_release)
        origin.down = True
        with trio.fail_after(FETCH_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(host.fetch, origin)
                with trio.move_on_after(0.5):  # two looks at the mesh
                    await host.opened.wait()
                assert not host.opened.is_set()
                host.mesh.has_groups = True
                await host.opened.wait()
                origin.down = False
        carried = pieces_of(host.mesh.stripes(), host.group.piece_count)
        assert host.between.have() == carried


async def test_a_trunk_without_other_groups_wants_nothing_and_is_given_nothing(lab, small_release):
    async with two_groups(lab, small_release) as placed:
        host = placed[0]
        host.mesh.has_groups = False
        for piece in range(host.group.piece_count):
            host.group.add_piece(piece, small_release.piece(piece))
        with trio.fail_after(FETCH_S):
            await host.group.wait_complete()
        host.trunk.look_again()
        assert not host.between.is_fetching
        with trio.move_on_after(0.3):
            await host.trunk.carry()
        assert host.between.have() == 0
        assert host.host.session._torrents.fetching() == [], "nothing is asked for ever"
