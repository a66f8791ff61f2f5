"""Whole fetches: several hosts, real bytes over real connections, a dealer in this process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio

from p2pdeploy.errors import IntegrityError, UnavailableError
from p2pdeploy.ids import CellId
from p2pdeploy.swarm.deal_terms import DealConfig
from p2pdeploy.swarm.dealer_client import ReleaseKey, tell_completed
from p2pdeploy.swarm.fetch_terms import FetchConfig

HASTY = FetchConfig(missing_s=0.5, all_dealt_s=0.2, connect_s=0.2)


TEST_S = 60.0  # no test may hang, whatever it waits for; alone they take a second or two


@contextlib.asynccontextmanager
async def sessions(hosts) -> AsyncIterator[None]:
    with trio.fail_after(TEST_S):
        async with contextlib.AsyncExitStack() as stack:
            for host in hosts:
                await stack.enter_async_context(host.session)
            yield


async def fetch_all(hosts, origin, timeout_s=20.0):
    """Fetch on every host at once; returns the reports by host name."""
    reports = {}

    async def fetch_one(host, torrent):
        reports[host.name] = await host.fetch(torrent, origin, hosts)

    with trio.fail_after(timeout_s):
        async with trio.open_nursery() as nursery:
            for host in hosts:
                nursery.start_soon(fetch_one, host, await host.add(origin.release))
    return reports


async def test_four_hosts_fetch_everything_and_each_piece_leaves_the_origin_once(
    lab, eight_mib_release
):
    origin = lab.Origin(eight_mib_release)
    hosts = [lab.host() for _ in range(4)]
    async with sessions(hosts):
        reports = await fetch_all(hosts, origin)
    assert all(eight_mib_release.is_at(host.root) for host in hosts)
    pieces = len(eight_mib_release.spans)
    seen = origin.dealer.statistics()
    assert pieces <= seen.deals <= 1.1 * pieces
    assert seen.planted == pieces
    assert seen.hosts_completed == 4
    dealt_bytes = sum(report.dealt_bytes for report in reports.values())
    assert dealt_bytes == seen.dealt_bytes
    for report in reports.values():
        assert report.dealt_bytes + report.peer_bytes >= eight_mib_release.size_bytes
        assert report.refused_deals == 0


async def test_bytes_by_source_add_up_to_the_release_on_every_host(lab, eight_mib_release):
    release, origin = eight_mib_release, lab.Origin(eight_mib_release)
    hosts = [lab.host() for _ in range(4)]
    racks = {host.name: number // 2 for number, host in enumerate(hosts[:3])}  # the last: abroad
    async with sessions(hosts), trio.open_nursery() as nursery:
        for host in hosts:
            members = {
                other.session.address: "rack"
                if racks[other.name] == racks.get(host.name)
                else "cell"
                for other in hosts[:3]
            }
            fetch = partial(host.fetch, members=members)
            nursery.start_soon(fetch, await host.add(release), origin, hosts)
    ended = {r.host: r.progress for r in origin.requests if r.completed}
    assert ended.keys() == {host.name for host in hosts}
    for progress in ended.values():
        received = progress.received
        assert progress.have_bytes == release.size_bytes
        assert release.size_bytes <= received.network <= 1.1 * release.size_bytes
        assert received.local == 0
        assert progress.ended_ago_s is not None
    dealt = sum(progress.received.origin for progress in ended.values())
    assert dealt == origin.dealer.statistics().dealt_bytes
    first, third, abroad = (ended[hosts[number].name].received for number in (0, 2, 3))
    assert min(first.rack, first.cell, first.wan) > 0
    assert (third.rack, abroad.rack, abroad.wan) == (0, 0, 0)


async def test_what_was_here_before_is_no_traffic(lab, small_release):
    origin, host = lab.Origin(small_release), lab.host()
    small_release.write(host.root)
    have = [number % 2 == 0 for number in range(len(small_release.spans))]
    here = sum(span.size_bytes for span in small_release.spans[::2])
    async with sessions([host]):
        await host.fetch(await host.add(small_release, have), origin, [])
    (ended,) = (r.progress for r in origin.requests if r.completed)
    lacked = small_release.size_bytes - here
    assert (ended.received.local, ended.received.network) == (here, lacked)


async def test_files_with_the_same_bytes_at_several_paths_arrive(lab):
    sizes = {"a": 300_000, "b": 300_000, "c": 20_000, "d": 20_000, "e": 300_000, "f": 70_000}
    release = lab.Release(sizes, same_bytes=True)
    origin = lab.Origin(release)
    hosts = [lab.host() for _ in range(2)]
    async with sessions(hosts):
        await fetch_all(hosts, origin)
    assert all(release.is_at(host.root) for host in hosts)


async def test_a_corrupted_deal_is_refused_and_the_piece_dealt_again(lab, small_release):
    origin = lab.Origin(small_release)
    origin.corrupt_left = 3
    host = lab.host()
    async with sessions([host]):
        reports = await fetch_all([host], origin)
    assert small_release.is_at(host.root)
    assert reports[host.name].refused_deals == 3
    assert reports[host.name].dealt_bytes == small_release.size_bytes


async def test_an_origin_that_sends_only_garbage_ends_the_fetch_with_an_integrity_error(
    lab, small_release
):
    origin = lab.Origin(small_release)
    origin.corrupt_left = 10_000
    host = lab.host()
    async with sessions([host]):
        torrent = await host.add(small_release)
        with trio.fail_after(30), pytest.raises(IntegrityError):
            await host.fetch(torrent, origin, [host])
        assert torrent.progress().pieces_have == 0


async def test_a_restarted_host_fetches_only_what_it_lacks(lab, eight_mib_release):
    origin = lab.Origin(eight_mib_release)
    host = lab.host()
    async with sessions([host]):
        torrent = await host.add(eight_mib_release)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.fetch, torrent, origin, [host])
            while torrent.progress().pieces_have < 100:
                await torrent.wait_change()
            nursery.cancel_scope.cancel()
        have = [torrent.has(piece) for piece in range(torrent.piece_count)]
    had = sum(eight_mib_release.spans[k].size_bytes for k, bit in enumerate(have) if bit)
    assert 0 < had < eight_mib_release.size_bytes

    again = lab.host()
    again.root = host.root
    async with sessions([again]):
        torrent = await again.add(eight_mib_release, have)
        assert torrent.progress().pieces_have == sum(have), "nothing was hashed again"
        with trio.fail_after(30):
            report = await again.fetch(torrent, lab.Origin(eight_mib_release), [again])
    assert report.dealt_bytes == eight_mib_release.size_bytes - had
    assert eight_mib_release.is_at(host.root)


async def test_the_fetch_goes_on_without_the_origin_when_neighbours_have_the_pieces(
    lab, small_release
):
    origin = lab.Origin(small_release)
    origin.down = True
    seed, host = lab.host(), lab.host()
    small_release.write(seed.root)
    async with sessions([seed, host]):
        await seed.add(small_release, [True] * 7)
        torrent = await host.add(small_release)
        with trio.fail_after(20):
            report = await host.fetch(torrent, origin, [seed])
    assert report.dealt_bytes == 0
    assert report.peer_bytes >= small_release.size_bytes


async def test_the_fetch_resumes_when_the_origin_comes_back(lab, small_release):
    origin = lab.Origin(small_release)
    origin.down = True
    host = lab.host()

    async def bring_back():
        await trio.sleep(1.0)
        origin.down = False

    async with sessions([host]), trio.open_nursery() as nursery:
        nursery.start_soon(bring_back)
        reports = await fetch_all([host], origin)
    assert reports[host.name].dealt_bytes == small_release.size_bytes


async def test_a_piece_that_only_a_stranger_has_is_found_through_the_dealers_hint(
    lab, small_release
):
    """Everything is planted, but the host's handout names nobody who has it."""
    origin = lab.Origin(small_release)
    seeds = [lab.host(), lab.host()]
    host = lab.host()
    async with sessions([*seeds, host]):
        for seed in seeds:
            small_release.write(seed.root)
            torrent = await seed.add(small_release, [True] * 7)
            await seed.fetch(torrent, origin, [])
        torrent = await host.add(small_release)
        with trio.fail_after(20):
            report = await host.fetch(torrent, origin, [], everybody=seeds, config=HASTY)
    assert report.dealt_bytes == 0
    assert origin.dealer.statistics().hints >= 1
    assert small_release.is_at(host.root)


async def test_a_piece_whose_holders_are_all_gone_comes_from_the_origin(lab, small_release):
    origin = lab.Origin(small_release, DealConfig(hint_s=0.5))
    ghosts = [lab.host(), lab.host()]
    host = lab.host()
    async with sessions([*ghosts, host]):
        for ghost in ghosts:
            small_release.write(ghost.root)
            torrent = await ghost.add(small_release, [True] * 7)
            await ghost.fetch(torrent, origin, [])
            await torrent.remove()
        torrent = await host.add(small_release)
        with trio.fail_after(40):
            report = await host.fetch(torrent, origin, [], everybody=ghosts, config=HASTY)
    assert report.dealt_bytes == small_release.size_bytes
    assert small_release.is_at(host.root)


async def test_a_full_disk_ends_the_fetch_and_a_later_one_goes_on(lab, small_release):
    origin = lab.Origin(small_release)
    host = lab.host()
    (host.root / "a").mkdir(parents=True)
    (host.root / "a/y").symlink_to("/dev/full")
    async with sessions([host]):
        torrent = await host.add(small_release)
        with trio.fail_after(10), pytest.raises(UnavailableError) as caught:
            await host.fetch(torrent, origin, [])
        assert caught.value.code == "disk-full"
        (host.root / "a/y").unlink()
        with trio.fail_after(20):
            while not torrent.complete:  # writes still under way may fail once more
                with contextlib.suppress(UnavailableError):
                    await host.fetch(torrent, origin, [])
    assert small_release.is_at(host.root)


async def test_a_dealer_that_forgot_sends_next_to_nothing_when_neighbours_have_all(
    lab, eight_mib_release
):
    origin = lab.Origin(eight_mib_release)  # knows nothing of the seed
    seed, host = lab.host(), lab.host()
    eight_mib_release.write(seed.root)
    pieces = len(eight_mib_release.spans)
    async with sessions([seed, host]):
        await seed.add(eight_mib_release, [True] * pieces)
        torrent = await host.add(eight_mib_release)
        torrent._handle.set_download_limit(50_000)  # until the neighbour's pieces are known
        torrent.connect(seed.session.address, seed.session.port)
        with trio.fail_after(30):
            while not all(torrent.has(n) or torrent.near >> n & 1 for n in range(pieces)):
                await torrent.wait_change()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(host.fetch, torrent, origin, [seed])
                await origin.asked.wait()  # of a torrent that is complete nothing more is told
                torrent._handle.set_download_limit(0)
    assert torrent.complete
    assert torrent.dealt_bytes <= 3 * 32 * 1024


async def test_a_dealer_that_was_told_who_seeds_deals_nothing(lab, small_release):
    origin = lab.Origin(small_release)
    seeds, host = [lab.host(), lab.host()], lab.host()
    async with sessions([*seeds, host]):
        for seed in seeds:
            small_release.write(seed.root)
            torrent = await seed.add(small_release, [True] * 7)
            key = ReleaseKey(
                cell=CellId("lab.web.c0"), manifest_digest=small_release.digest, host=seed.name
            )
            await tell_completed(torrent, origin, key, dict)
        torrent = await host.add(small_release)
        with trio.fail_after(20):
            report = await host.fetch(torrent, origin, seeds)
    assert report.dealt_bytes == 0
    assert origin.dealer.statistics().hosts_completed == 3
