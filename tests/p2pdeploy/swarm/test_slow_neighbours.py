"""Slow retrieval in the swarm: a neighbour that has everything, says so, and hardly sends."""

from __future__ import annotations

import trio

from p2pdeploy.swarm.fetch_terms import FetchConfig

HASTY = FetchConfig(missing_s=0.5, all_dealt_s=0.2, connect_s=0.2)
DRIP_BYTES_PER_S = 3_000  # enough to say what it has; the release would take 47 s
SOON_S = 25.0
PIECES = 7


async def test_slow_retrieval_from_a_neighbour_does_not_keep_the_origin_away(lab, small_release):
    origin = lab.Origin(small_release)
    slow, host = lab.host(), lab.host()
    small_release.write(slow.root)
    async with slow.session, host.session:
        seeding = await slow.add(small_release, [True] * PIECES)
        seeding._handle.set_upload_limit(DRIP_BYTES_PER_S)
        torrent = await host.add(small_release)
        torrent.connect(slow.session.address, slow.session.port)
        with trio.fail_after(20):
            while not all(torrent.near >> piece & 1 for piece in range(PIECES)):
                await torrent.wait_change()
        with trio.fail_after(SOON_S):
            report = await host.fetch(torrent, origin, [slow], config=HASTY)
    assert small_release.is_at(host.root)
    assert report.dealt_bytes > report.peer_bytes
