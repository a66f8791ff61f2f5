"""The session and its torrents, with real libtorrent on real addresses."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import libtorrent as lt
import pytest
import trio

from p2pdeploy.errors import ConfigError, IntegrityError, RefusedError, UnavailableError
from p2pdeploy.messages.deal import bitmap_of
from p2pdeploy.swarm import torrents as torrents_module
from p2pdeploy.swarm.session import Session
from p2pdeploy.swarm.torrents import Torrents


async def add_all(torrent, release, pieces):
    with trio.fail_after(10):
        for piece in pieces:
            torrent.add_piece(piece, release.piece(piece))
            await torrent.wait_piece(piece)


async def test_dealt_pieces_end_in_the_files_the_caller_named(lab, small_release):
    host = lab.host()
    async with host.session:
        torrent = await host.add(small_release)
        await add_all(torrent, small_release, range(torrent.piece_count))
        await torrent.wait_complete()
        assert torrent.dealt_bytes == small_release.size_bytes
        assert torrent.peer_bytes == 0
        assert torrent.have_bitmap() == bitmap_of([True] * 7)
    assert small_release.is_at(host.root)
    assert sorted(p.name for p in host.root.rglob("*") if p.is_file()) == ["x", "y", "z"]


async def test_wrong_bytes_are_not_taken(lab, small_release):
    host = lab.host()
    async with host.session:
        torrent = await host.add(small_release)
        torrent.add_piece(0, bytes(len(small_release.piece(0))))
        with trio.fail_after(10):
            while not torrent.hash_failures:
                await torrent.wait_change()
        assert not torrent.has(0)
        await add_all(torrent, small_release, [0])
        assert torrent.has(0)


async def test_a_host_gets_everything_from_a_seed_that_was_told_it_has_all(lab, small_release):
    seed, host = lab.host(), lab.host()
    small_release.write(seed.root)
    async with seed.session, host.session:
        seeding = await seed.add(small_release, [True] * 7)
        assert seeding.complete
        torrent = await host.add(small_release)
        torrent.connect(seed.session.address, seed.session.port)
        with trio.fail_after(10):
            await torrent.wait_complete()
        await torrent.refresh()
        assert torrent.peer_bytes >= small_release.size_bytes
        assert torrent.dealt_bytes == 0
    assert small_release.is_at(host.root)


BLOCK_BYTES = 16 * 1024


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


async def test_only_the_blocks_that_a_piece_lacks_come_over_the_wire(lab, small_release):
    gaps = {0: ((100, 200),), 2: ((BLOCK_BYTES, 2 * BLOCK_BYTES),)}
    have = [piece not in gaps for piece in range(7)]
    seed, host = lab.host(), lab.host()
    small_release.write(seed.root)
    write_with_gaps(small_release, host.root, gaps)
    async with seed.session, host.session:
        await seed.add(small_release, [True] * 7)
        torrent = await host.add(small_release, have, gaps)
        assert torrent.progress().pieces_have == 5
        torrent.connect(seed.session.address, seed.session.port)
        with trio.fail_after(10):
            await torrent.wait_complete()
        await torrent.refresh()
        assert torrent.peer_bytes == 2 * BLOCK_BYTES
    assert small_release.is_at(host.root)


async def test_a_dealt_piece_completes_what_was_there_in_part(lab, small_release):
    gaps = {0: ((100, 200),)}
    host = lab.host()
    write_with_gaps(small_release, host.root, gaps)
    async with host.session:
        torrent = await host.add(small_release, [False] + [True] * 6, gaps)
        await add_all(torrent, small_release, [0])
        await torrent.wait_complete()
        assert torrent.hash_failures == 0
    assert small_release.is_at(host.root)


async def test_what_the_caller_says_it_has_is_hashed_when_the_files_contradict(lab, small_release):
    host = lab.host()
    async with host.session:
        torrent = await host.add(small_release, [True] * 7)
        assert not torrent.complete
        assert torrent.progress().pieces_have == 0


async def test_a_peer_that_sends_garbage_is_banned_and_nothing_of_it_is_kept(lab, small_release):
    liar, seed, host = lab.host(), lab.host(), lab.host()
    small_release.write(liar.root, {p: bytes(len(d)) for p, d in small_release.blobs.items()})
    small_release.write(seed.root)
    async with liar.session, seed.session, host.session:
        await liar.add(small_release, [True] * 7)
        await seed.add(small_release, [True] * 7)
        torrent = await host.add(small_release)
        torrent.connect(liar.session.address, liar.session.port)
        with trio.fail_after(20):
            while not torrent.banned:
                await torrent.wait_change()
            assert torrent.progress().pieces_have == 0
            assert torrent.banned == {liar.session.address}
            torrent.connect(liar.session.address, liar.session.port)
            torrent.connect(seed.session.address, seed.session.port)
            await torrent.wait_complete()
    assert small_release.is_at(host.root)


async def test_a_full_disk_is_a_state_that_says_so_and_clears(lab, small_release):
    host = lab.host()
    (host.root / "a").mkdir(parents=True)
    (host.root / "a/y").symlink_to("/dev/full")
    async with host.session:
        torrent = await host.add(small_release)
        torrent.add_piece(1, small_release.piece(1))  # one block, so one write that fails
        with trio.fail_after(10), pytest.raises(UnavailableError) as caught:
            await torrent.wait_piece(1)
        assert caught.value.code == "disk-full"
        assert caught.value.where.endswith("/a/y")
        assert "full" in torrent.progress().fault
        (host.root / "a/y").unlink()
        torrent.clear_fault()
        await add_all(torrent, small_release, range(7))
    assert small_release.is_at(host.root)


async def test_a_disk_that_fails_is_told_apart_from_a_full_one(lab, small_release):
    host = lab.host()
    (host.root / "z").mkdir(parents=True)
    async with host.session:
        with trio.fail_after(10):
            torrent = await host.add(small_release)
            torrent.add_piece(6, small_release.piece(6))
            with pytest.raises(UnavailableError) as caught:
                await torrent.wait_piece(6)
        assert caught.value.code == "disk-error"
        assert os.strerror(errno.EISDIR) in str(caught.value)


async def test_a_check_that_does_not_end_is_a_clear_error_and_leaves_nothing(
    lab, small_release, monkeypatch
):
    host = lab.host()
    async with host.session:
        with monkeypatch.context() as patched:
            patched.setattr(torrents_module, "CHECK_S", 0.05)
            patched.setattr(Torrents, "_end_check", lambda _self, _handle: None)
            with trio.fail_after(10), pytest.raises(UnavailableError, match="within 0 s") as caught:
                await host.add(small_release)
        assert caught.value.code == "check-timeout"
        assert caught.value.where.startswith(str(host.root))
        torrent = await host.add(small_release)
        await add_all(torrent, small_release, range(7))
    assert small_release.is_at(host.root)


async def test_a_check_whose_end_was_lost_with_other_alerts_is_found_out(
    lab, small_release, monkeypatch
):
    """As when 8,000 alerts wait: the one that ends the check comes once only."""
    take = Torrents.take

    def lose(torrents: Torrents, alert) -> None:
        if isinstance(alert, lt.torrent_checked_alert):
            torrents.suspect_all()
        else:
            take(torrents, alert)

    monkeypatch.setattr(Torrents, "take", lose)
    host = lab.host()
    async with host.session:
        with trio.fail_after(10):
            torrent = await host.add(small_release)
        await add_all(torrent, small_release, range(7))
    assert small_release.is_at(host.root)


async def test_remove_lets_go_and_the_same_release_can_be_added_again(lab, small_release):
    host = lab.host()
    small_release.write(host.root)
    async with host.session:
        torrent = await host.add(small_release, [True] * 7)
        with pytest.raises(RefusedError):
            await host.add(small_release, [True] * 7)
        await torrent.remove()
        await torrent.remove()
        again = await host.add(small_release, [True] * 7)
        assert again.complete
    assert small_release.is_at(host.root)


async def test_bytes_that_are_no_torrent_or_another_one_are_refused(lab, small_release, tmp_path):
    host = lab.host()
    async with host.session:
        with pytest.raises(IntegrityError):
            await host.session.add(b"garbage", {"x": tmp_path / "x"}, [False])
        with pytest.raises(IntegrityError):
            await host.session.add(small_release.torrent, {"x": tmp_path / "x"}, [False] * 7)
        paths = small_release.paths(tmp_path)
        with pytest.raises(IntegrityError):
            await host.session.add(small_release.torrent, paths, [False] * 8)


async def test_a_taken_port_is_one_clear_error_and_no_silent_move(lab):
    host = lab.host()
    with socket.socket() as taken:
        taken.bind((host.session.address, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError) as caught:
            async with Session(host.session.address, port, lab.swarm_identity()):
                pass
    assert caught.value.code == "port-taken"


@pytest.mark.parametrize("address", ["0.0.0.0", "::1", "localhost", "224.0.0.1"])
def test_what_is_not_the_address_of_one_machine_is_refused(lab, address):
    with pytest.raises(ConfigError) as refused:
        Session(address, 0, lab.swarm_identity())
    assert refused.value.code == "bad-address"


async def test_an_error_of_the_body_passes_through_unwrapped(lab):
    with pytest.raises(RefusedError):
        async with lab.host().session:
            raise RefusedError("by the body")


async def test_cancellation_closes_the_session(lab):
    host = lab.host()
    with trio.move_on_after(0.2) as scope:
        async with host.session:
            await trio.sleep_forever()
    assert scope.cancelled_caught
    with socket.socket() as probe:
        assert probe.connect_ex((host.session.address, host.session.port)) == errno.ECONNREFUSED


async def test_every_socket_binds_the_hosts_own_address(lab, small_release):
    seed, host = lab.host(), lab.host()
    small_release.write(seed.root)
    async with seed.session, host.session:
        await seed.add(small_release, [True] * 7)
        torrent = await host.add(small_release)
        torrent.connect(seed.session.address, seed.session.port)
        with trio.fail_after(10):
            await torrent.wait_complete()
        own = {seed.session.address, host.session.address}
        assert {local for local, _ in tcp_sockets() if local.startswith("127.77.")} <= own
        assert not [r for local, r in tcp_sockets() if r in own and local not in own]


def tcp_sockets() -> list[tuple[str, str]]:
    """Local and remote addresses of this process's TCP sockets over IPv4."""
    mine = {os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists()}
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return [(dotted(row[1]), dotted(row[2])) for row in rows if f"socket:[{row[9]}]" in mine]


def dotted(field: str) -> str:
    return socket.inet_ntoa(bytes.fromhex(field.split(":")[0])[::-1])


async def test_links_within_a_cell_have_little_on_their_way_and_those_between_cells_what_tcp_likes(
    lab,
):
    session = lab.host().session

    def send_buffer_bytes() -> int:
        return session._session.get_settings()["send_socket_buffer_size"]

    async with session:
        assert send_buffer_bytes() == 16 * 1024
        session.admit(lab.addresses, far=sorted(lab.addresses)[:1])
        assert send_buffer_bytes() == 0
        session.admit(lab.addresses)
        assert send_buffer_bytes() == 16 * 1024
