"""Rates hold for real bytes: of peers in libtorrent, of deals before they are drawn."""

from __future__ import annotations

import pytest
import trio

from p2pdeploy.swarm.deal_terms import DealConfig
from p2pdeploy.swarm.fetch_terms import FetchConfig
from p2pdeploy.swarm.pace import DealPace
from tests.p2pdeploy.swarm.test_fetch import sessions

RATE = 4_000_000  # 8 MiB take two seconds; without a limit a tenth of that


async def seconds_to_fetch(lab, release, *, download: int | None, upload: int | None) -> float:
    """How long a host takes to get *release* from one seed, limited as told."""
    origin = lab.Origin(release)
    origin.down = True
    seed, host = lab.host(), lab.host()
    release.write(seed.root)
    async with sessions([seed, host]):
        host.session.limit_rates(download, None)
        seed.session.limit_rates(None, upload)
        await seed.add(release, [True] * len(release.spans))
        torrent = await host.add(release)
        began_at = trio.current_time()
        await host.fetch(torrent, origin, [seed])
        traffic = await host.session.traffic()
    assert release.is_at(host.root)
    assert traffic.received_bytes >= release.size_bytes
    return trio.current_time() - began_at


@pytest.mark.parametrize(("download", "upload"), [(RATE, None), (None, RATE)])
async def test_peers_of_a_private_network_are_limited_as_well(
    lab, eight_mib_release, download: int | None, upload: int | None
):
    took_s = await seconds_to_fetch(lab, eight_mib_release, download=download, upload=upload)
    # Libtorrent may begin with a second's worth.
    assert took_s > (eight_mib_release.size_bytes / RATE - 1) * 0.8


@pytest.mark.parametrize("is_far", [True, False])
async def test_what_comes_from_other_cells_is_limited_alone(lab, eight_mib_release, is_far: bool):
    origin = lab.Origin(eight_mib_release)
    origin.down = True
    seed, host = lab.host(), lab.host()
    eight_mib_release.write(seed.root)
    async with sessions([seed, host]):
        host.session.admit(lab.addresses, far=[seed.neighbour.address] if is_far else [])
        host.session.limit_far(RATE)
        await seed.add(eight_mib_release, [True] * len(eight_mib_release.spans))
        torrent = await host.add(eight_mib_release)
        began_at = trio.current_time()
        await host.fetch(torrent, origin, [seed])
        took_s = trio.current_time() - began_at
    limited_s = (eight_mib_release.size_bytes / RATE - 1) * 0.8
    assert (took_s > limited_s) is is_far


async def test_a_limit_that_is_lifted_frees_a_running_fetch(lab, eight_mib_release):
    origin = lab.Origin(eight_mib_release)
    origin.down = True
    seed, host = lab.host(), lab.host()
    eight_mib_release.write(seed.root)
    async with sessions([seed, host]):
        host.session.limit_rates(200_000, None)  # the whole of it would take 40 s
        await seed.add(eight_mib_release, [True] * len(eight_mib_release.spans))
        torrent = await host.add(eight_mib_release)
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(host.fetch, torrent, origin, [seed])
                while torrent.progress().pieces_have < 3:
                    await torrent.wait_change()
                assert not torrent.complete
                host.session.limit_rates(None, None)


async def test_deals_are_drawn_at_the_pace_and_each_piece_once(lab, eight_mib_release):
    origin, host = lab.Origin(eight_mib_release), lab.host()
    pace = DealPace(0.0, trio.current_time())
    pace.allow(RATE, None, trio.current_time())
    async with sessions([host]):
        torrent = await host.add(eight_mib_release)
        began_at = trio.current_time()
        await host.fetch(torrent, origin, [host], pace=pace)
        took_s = trio.current_time() - began_at
    assert took_s > (eight_mib_release.size_bytes / RATE - 1) * 0.8
    assert pace.dealt_bytes == eight_mib_release.size_bytes
    assert origin.dealer.statistics().redeals == 0


async def test_what_is_stored_while_the_pace_is_kept_is_told_before_it_is_dealt_again(
    lab, small_release
):
    hasty = DealConfig(timeout_min_s=0.4, first_deal_timeout_s=0.4)
    origin, host = lab.Origin(small_release, config=hasty), lab.host()
    pace = DealPace(0.0, trio.current_time())
    pace.allow(30_000, None, trio.current_time())  # a second for each piece
    config = FetchConfig(confirm_s=0.05)
    async with sessions([host]):
        await host.fetch(await host.add(small_release), origin, [], pace=pace, config=config)
    assert origin.dealer.statistics().redeals == 0
    assert any(request.paused for request in origin.requests)


async def test_a_host_reports_while_a_deal_is_still_on_its_way(lab, small_release):
    origin, host = lab.Origin(small_release), lab.host()
    origin.sends_after = lambda: any(request.paused for request in origin.requests)
    config = FetchConfig(heard_s=0.2, confirm_s=0.05)
    async with sessions([host]):
        await host.fetch(await host.add(small_release), origin, [], config=config)
    assert small_release.is_at(host.root)
