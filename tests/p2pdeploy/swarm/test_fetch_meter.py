"""Bytes by source, and what holds a fetch up."""

from __future__ import annotations

from p2pdeploy.codec import decode, encode
from p2pdeploy.messages.swarm import FetchProgress, SourceBytes
from p2pdeploy.swarm.fetch_meter import FetchMeter
from p2pdeploy.swarm.peer_traffic import PeerSeen, PeerTraffic, bytes_by_source
from p2pdeploy.swarm.rate_meter import LinkPeaks

MEMBERS = {"10.0.0.1": "rack", "10.0.0.2": "cell"}


def peer(
    address: str, down_bytes: int, port: int = 1, *, willing: bool = True, disk: bool = False
) -> PeerSeen:
    return PeerSeen(address, port, down_bytes, willing, disk)


def test_looks_at_growing_connections_add_up() -> None:
    traffic = PeerTraffic()
    for size_bytes in (10, 10, 25):
        traffic.note([peer("10.0.0.1", size_bytes), peer("10.0.0.1", 3, port=2)])
    assert traffic.by_address == {"10.0.0.1": 28}


def test_a_connection_that_was_made_anew_counts_on() -> None:
    traffic = PeerTraffic()
    traffic.note([peer("10.0.0.1", 10)])
    traffic.note([])
    traffic.note([peer("10.0.0.1", 4)])
    traffic.note([peer("10.0.0.1", 1)])  # and again, between two looks
    assert traffic.by_address == {"10.0.0.1": 15}


def test_every_byte_has_a_source() -> None:
    by_address = {"10.0.0.1": 5, "10.0.0.2": 7, "192.0.2.1": 11}
    found = bytes_by_source(by_address, MEMBERS, peer_bytes=30, dealt_bytes=50, local_bytes=20)
    assert found == SourceBytes(origin=50, rack=5, cell=30 - 5 - 11, wan=11, local=20)
    assert found.network == 80


def meter_of(have_bytes: int = 0, *, complete: bool = False) -> FetchMeter:
    meter = FetchMeter(1, LinkPeaks())
    meter.note_totals(0.0, have_bytes=have_bytes, peer_bytes=0, dealt_bytes=0, sent_bytes=0)
    meter.begin(0.0, complete=complete)
    return meter


def told(meter: FetchMeter, now: float) -> FetchProgress:
    return meter.progress(now, MEMBERS, lacking_pieces=9, offered_pieces=4, peers=2)


def test_a_fetch_is_told_whole() -> None:
    meter = meter_of(have_bytes=100)
    for second in range(11):
        moved = second * 10
        meter.note_totals(
            second,
            have_bytes=100 + moved,
            peer_bytes=moved // 2,
            dealt_bytes=moved // 2,
            sent_bytes=moved * 2,
        )
    meter.note_peers([peer("10.0.0.1", 50), peer("10.0.0.2", 0, willing=False, disk=True)])
    assert told(meter, 11.0) == FetchProgress(
        have_bytes=200,
        received=SourceBytes(origin=50, rack=50, local=100),
        down_bytes_per_s=10,
        down_peak_bytes_per_s=10,
        up_peak_bytes_per_s=20,
        lacking_pieces=9,
        offered_pieces=4,
        peers=2,
        peers_willing=1,
        peers_disk_bound=1,
        began_ago_s=11.0,
    )
    meter.note_complete(12.0)
    meter.note_complete(15.0)
    ended = told(meter, 20.0)
    assert (ended.ended_ago_s, ended.down_bytes_per_s) == (8.0, 0)


def test_a_slow_disk_shows_while_a_piece_waits_and_after() -> None:
    meter = meter_of()
    meter.note_handed_in(3, 10.0)
    assert told(meter, 14.0).store_s == 4.0
    meter.note_stored(3, 14.0)
    meter.note_stored(4, 14.0)  # was never dealt
    assert 0 < told(meter, 20.0).store_s < 4.0


def test_what_only_seeds_fetches_nothing() -> None:
    assert meter_of().fetches
    assert not meter_of(complete=True).fetches


def test_figures_are_small_on_the_wire() -> None:
    most = FetchProgress(
        have_bytes=2**50,
        received=SourceBytes(origin=2**50, rack=2**50, cell=2**50, wan=2**50, local=2**50),
        down_bytes_per_s=2**40,
        down_peak_bytes_per_s=2**40,
        up_peak_bytes_per_s=2**40,
        lacking_pieces=2**20,
        offered_pieces=2**20,
        peers=2**20,
        peers_willing=2**20,
        peers_disk_bound=2**20,
        store_s=1.5,
        began_ago_s=1e6,
        ended_ago_s=1e6,
    )
    assert len(encode(most)) < 512
    assert decode(encode(most), FetchProgress, bytes_max=512) == most
