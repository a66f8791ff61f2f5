"""A piece that is here in part costs its gaps, and nothing wrong in it is kept."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio

from p2pdeploy.errors import UnavailableError
from p2pdeploy.messages.deal import GAPS_MAX, Gap
from p2pdeploy.swarm.partly_here import PartlyHere

GAPS = {2: ((0, 10), (20_000, 20_100)), 3: ((5, 32 * 1024),), 6: ((0, 2),)}
LACKING_BYTES = 10 + 100 + 32 * 1024 - 5 + 2


def no_disk(piece: int) -> bytes:
    raise AssertionError(f"piece {piece} was read")


def write_with_gaps(release, root: Path, gaps) -> None:
    """The release on the disk of *root*, with zeros where *gaps* of its pieces are."""
    holed = {path: bytearray(data) for path, data in release.blobs.items()}
    blobs = list(holed.values())
    for piece, ranges in gaps.items():
        span = release.spans[piece]
        for start, end in ranges:
            first = span.offset_bytes + start
            blobs[span.blob_index][first : first + end - start] = bytes(end - start)
    release.write(root, {path: bytes(data) for path, data in holed.items()})


def test_gaps_are_laid_over_what_is_here() -> None:
    partly = PartlyHere({4: ((1, 3), (5, 6))}, lambda _: b"abcdefgh")
    assert partly.ask_for([4]) == [[Gap(4, 1, 3), Gap(4, 5, 6)]]
    assert partly.join([Gap(4, 1, 3), Gap(4, 5, 6)], b"XYZ") == {4: b"aXYdeZgh"}


def test_a_request_has_no_more_gaps_than_one_may_have() -> None:
    many = tuple((2 * n, 2 * n + 1) for n in range(GAPS_MAX - 1))
    partly = PartlyHere({1: many, 2: many, 3: ((0, 1),)}, no_disk)
    assert [len(gaps) for gaps in partly.ask_for([1, 2, 3])] == [GAPS_MAX - 1, GAPS_MAX]


def test_a_piece_in_more_parts_than_one_may_ask_for_is_taken_whole() -> None:
    many = tuple((2 * n, 2 * n + 1) for n in range(GAPS_MAX))
    assert PartlyHere({1: many}, no_disk).bits == 0


def test_what_is_forgotten_is_not_here_any_more() -> None:
    partly = PartlyHere({1: ((0, 1),), 3: ((0, 1),)}, no_disk)
    assert partly.bits == 0b1010
    partly.forget(1)
    partly.forget(1)
    assert (partly.bits, 1 in partly, 3 in partly) == (0b1000, False, True)


async def test_the_origin_sends_only_the_gaps(lab, small_release):
    host, origin = lab.host(), lab.Origin(small_release)
    write_with_gaps(small_release, host.root, GAPS)
    have = [piece not in GAPS for piece in range(7)]
    async with host.session:
        torrent = await host.add(small_release, have, GAPS)
        with trio.fail_after(20):
            report = await host.fetch(torrent, origin, [], gaps=GAPS)
        assert origin.sent_bytes == LACKING_BYTES
        assert report.dealt_bytes == LACKING_BYTES
        assert torrent.hash_failures == 0
    assert small_release.is_at(host.root)


@pytest.mark.parametrize(
    ("rotten_at", "draws"), [(15, 1), (16 * 1024 + 1, 2)], ids=["unknown", "told"]
)
async def test_what_rotted_in_a_piece_is_fetched_with_it(lab, small_release, rotten_at, draws):
    """Libtorrent keeps a block that it was told is here until the piece has failed once."""
    host, origin = lab.host(), lab.Origin(small_release)
    gaps = {2: ((0, 10),)}
    write_with_gaps(small_release, host.root, {2: ((0, 10), (rotten_at, rotten_at + 1))})
    async with host.session:
        torrent = await host.add(small_release, [piece != 2 for piece in range(7)], gaps)
        with trio.fail_after(60):
            report = await host.fetch(torrent, origin, [], gaps=gaps)
        assert report.refused_deals == 0, "it is not the origin's fault"
        assert torrent.hash_failures == draws - 1
        assert origin.sent_bytes == 10 + draws * len(small_release.piece(2))
    assert small_release.is_at(host.root)


async def test_a_disk_that_cannot_be_read_costs_the_whole_piece(lab, small_release, monkeypatch):
    host, origin = lab.host(), lab.Origin(small_release)
    gaps = {2: ((0, 10),)}
    write_with_gaps(small_release, host.root, gaps)

    def unreadable(*_: object) -> bytes:
        raise OSError("input/output error")

    monkeypatch.setattr(host, "read_piece", unreadable)
    async with host.session:
        torrent = await host.add(small_release, [piece != 2 for piece in range(7)], gaps)
        with trio.fail_after(20):
            await host.fetch(torrent, origin, [], gaps=gaps)
        assert origin.sent_bytes == 10 + len(small_release.piece(2))
    assert small_release.is_at(host.root)


async def test_wrong_bytes_for_a_gap_are_not_kept(lab, small_release):
    host, origin = lab.host(), lab.Origin(small_release)
    gaps = {2: ((0, 10),)}
    write_with_gaps(small_release, host.root, gaps)
    origin.corrupt_left = 2  # the deal itself has no bytes, so the second are those of the gap
    async with host.session:
        torrent = await host.add(small_release, [piece != 2 for piece in range(7)], gaps)
        with trio.fail_after(20):
            await host.fetch(torrent, origin, [], gaps=gaps)
        assert torrent.hash_failures == 0
    assert small_release.is_at(host.root)


async def test_gaps_that_do_not_come_cost_the_whole_piece(lab, small_release, monkeypatch):
    host, origin = lab.host(), lab.Origin(small_release)
    gaps = {2: ((0, 10),)}
    write_with_gaps(small_release, host.root, gaps)

    async def refuse(request):
        raise UnavailableError("no gaps today")

    monkeypatch.setattr(origin, "fill", refuse)
    async with host.session:
        torrent = await host.add(small_release, [piece != 2 for piece in range(7)], gaps)
        with trio.fail_after(20):
            await host.fetch(torrent, origin, [], gaps=gaps)
        assert origin.sent_bytes == len(small_release.piece(2))
    assert small_release.is_at(host.root)


async def test_a_control_plane_that_knows_no_gaps_is_understood(lab, small_release, monkeypatch):
    host, origin = lab.host(), lab.Origin(small_release)
    gaps = {2: ((0, 10),)}
    write_with_gaps(small_release, host.root, gaps)
    deal = origin.deal

    async def deal_whole(request):
        return await deal(msgspec.structs.replace(request, partly=b""))

    monkeypatch.setattr(origin, "deal", deal_whole)
    async with host.session:
        torrent = await host.add(small_release, [piece != 2 for piece in range(7)], gaps)
        with trio.fail_after(20):
            report = await host.fetch(torrent, origin, [], gaps=gaps)
        assert report.refused_deals == 0
    assert small_release.is_at(host.root)
