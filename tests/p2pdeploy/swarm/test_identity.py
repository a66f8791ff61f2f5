"""Whose torrents a session joins, and what it presents; renewal under way."""

from __future__ import annotations

import datetime as dt

import msgspec
import psutil
import pytest
import trio
from cryptography.hazmat.primitives import serialization

from p2pdeploy.errors import TrustError
from p2pdeploy.payload.torrent import torrent_bytes
from p2pdeploy.swarm.identity import require_ours, require_pair
from p2pdeploy.swarm.session import Session
from p2pdeploy.trust.certificates import HOST_LIFETIME, new_authority, new_key


def with_torrent_of(release, lab, authority_pem: bytes):
    """The same release as a torrent for another fleet, or for nobody's."""
    other = lab.Release({path: len(data) for path, data in release.blobs.items()})
    other.torrent = torrent_bytes(other.manifest, other.digest, authority_pem)
    return other


async def test_a_torrent_that_anybody_may_join_is_refused(lab, small_release):
    host = lab.host()
    async with host.session:
        with pytest.raises(TrustError) as caught:
            await host.add(with_torrent_of(small_release, lab, b""))
        assert caught.value.code == "foreign-torrent"
        await host.add(small_release)


async def test_a_torrent_of_another_fleet_is_refused(lab, small_release):
    foreign = new_authority("test swarm CA", now=dt.datetime.now(dt.UTC)).pem
    host = lab.host()
    async with host.session:
        with pytest.raises(TrustError):
            await host.add(with_torrent_of(small_release, lab, foreign))


def test_ours_is_the_very_same_text(lab):
    identity = lab.swarm_identity()
    require_ours(lab.authority.pem, identity)
    with pytest.raises(TrustError):
        require_ours(lab.authority.pem + b"\n", identity)
    with pytest.raises(TrustError):
        require_ours(b"", identity)


def test_key_and_certificate_may_be_one_text(lab):
    identity = lab.swarm_identity()
    both = identity.key_pem + identity.certificate_pem
    require_pair(msgspec.structs.replace(identity, certificate_pem=both, key_pem=both))


def test_a_key_of_another_certificate_is_refused_before_anything_starts(lab):
    mixed = msgspec.structs.replace(lab.swarm_identity(), key_pem=lab.swarm_identity().key_pem)
    with pytest.raises(TrustError) as caught:
        Session(lab.address(), 0, mixed)
    assert caught.value.code == "bad-identity"


def test_an_encrypted_key_is_an_error_and_no_question_at_the_terminal(lab):
    secret = new_key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    with pytest.raises(TrustError):
        require_pair(msgspec.structs.replace(lab.swarm_identity(), key_pem=secret))


@pytest.mark.parametrize("text", [b"", b"garbage", b"x" * 100_000])
def test_what_is_no_certificate_is_refused(lab, text):
    with pytest.raises(TrustError):
        require_pair(msgspec.structs.replace(lab.swarm_identity(), certificate_pem=text))


def test_no_repr_shows_the_key(lab):
    assert "PRIVATE" not in repr(lab.swarm_identity())


async def test_one_text_with_key_and_certificate_moves_bytes(lab, small_release):
    seed, host = lab.host(), lab.host()
    small_release.write(seed.root)
    async with seed.session, host.session:
        identity = lab.swarm_identity()
        both = identity.key_pem + identity.certificate_pem
        seed.session.renew(msgspec.structs.replace(identity, certificate_pem=both, key_pem=both))
        await seed.add(small_release, [True] * 7)
        await fetch_all(await host.add(small_release), seed)
    assert small_release.is_at(host.root)


async def test_renewal_reaches_torrents_that_are_seeded_already(lab, small_release):
    """The seed's leaf has expired; with the new one it serves again."""
    seed, host = lab.host(), lab.host()
    small_release.write(seed.root)
    expired = lab.swarm_identity(age=HOST_LIFETIME + dt.timedelta(hours=1))
    seed.session.renew(expired)
    async with seed.session, host.session:
        await seed.add(small_release, [True] * 7)
        torrent = await host.add(small_release)
        with trio.move_on_after(1) as patience:
            await fetch_all(torrent, seed)
        assert patience.cancelled_caught  # the control: what renewal is for
        assert torrent.peer_bytes == 0
        seed.session.renew(lab.swarm_identity())
        await fetch_all(torrent, seed)


async def test_renewal_while_a_transfer_runs_does_not_break_it(lab, eight_mib_release):
    release = eight_mib_release
    seed, host, late = lab.host(), lab.host(), lab.host()
    release.write(seed.root)
    async with seed.session, host.session, late.session:
        await seed.add(release, [True] * len(release.spans))
        torrent = await host.add(release)
        torrent._handle.set_download_limit(4 << 20)
        torrent.connect(seed.session.address, seed.session.port)
        with trio.fail_after(20):
            while torrent.progress().pieces_have < 20:
                await torrent.wait_change()
        link = only_peer(torrent)
        seed.session.renew(lab.swarm_identity())
        host.session.renew(lab.swarm_identity())
        with trio.fail_after(20):
            while torrent.progress().pieces_have < 60:
                await torrent.wait_change()
        assert not torrent.complete
        assert only_peer(torrent) == link  # the very same connection
        torrent._handle.set_download_limit(0)
        with trio.fail_after(20):
            await torrent.wait_complete()
        await fetch_all(await late.add(release), seed)
    assert release.is_at(host.root)
    assert release.is_at(late.root)


async def test_a_bad_renewal_leaves_the_old_leaf_in_use(lab, small_release):
    seed, host = lab.host(), lab.host()
    small_release.write(seed.root)
    other = new_authority("test swarm CA", now=dt.datetime.now(dt.UTC))
    good = lab.swarm_identity()
    async with seed.session, host.session:
        await seed.add(small_release, [True] * 7)
        with pytest.raises(TrustError) as caught:
            seed.session.renew(msgspec.structs.replace(good, authority_pem=other.pem))
        assert caught.value.code == "other-authority"
        with pytest.raises(TrustError):
            seed.session.renew(msgspec.structs.replace(good, key_pem=b"garbage"))
        await fetch_all(await host.add(small_release), seed)


def only_peer(torrent) -> tuple[object, object]:
    """Both ends with their ports: another connection would have other ones."""
    (peer,) = torrent._handle.get_peer_info()
    return peer.ip, peer.local_endpoint()


async def fetch_all(torrent, host) -> None:
    torrent.connect(host.session.address, host.session.port)
    with trio.fail_after(20):
        await torrent.wait_complete()


async def test_there_is_no_plain_port(lab, small_release):
    host = lab.host()
    async with host.session:
        await host.add(small_release)
        links = psutil.Process().net_connections("tcp4")
        mine = [link.laddr for link in links if link.laddr.ip == host.session.address]
        assert [address.port for address in mine] == [host.session.port]
        assert host.session._session.listen_port() == 0  # libtorrent's word for a plain one
