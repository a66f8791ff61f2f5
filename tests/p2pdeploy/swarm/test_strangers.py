"""Attacks on the swarm from outside: each tries to get payload from a member that has it all.

The attacker is a stock libtorrent client, or a bare socket, with the .torrent of the release: the
file is no secret.  Its address is a member's unless the test says otherwise, so that it is the
certificate that is judged.
"""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from functools import partial
from typing import Any

import libtorrent as lt
import pytest
import trio

from p2pdeploy.ids import HostName
from p2pdeploy.payload.torrent import info_hash_v2
from p2pdeploy.swarm.identity import SwarmIdentity, present
from p2pdeploy.trust.certificates import (
    HOST_LIFETIME,
    issue_leaf,
    key_to_pem,
    new_authority,
    new_key,
    signing_request,
)
from p2pdeploy.trust.identity import HostId

PATIENCE_S = 20
_ENDS = (lt.peer_disconnected_alert, lt.peer_error_alert)


class Stranger:
    """A stock libtorrent client with the .torrent and, maybe, somebody's leaf."""

    def __init__(self, lab, release, identity: SwarmIdentity | None) -> None:
        self.address = lab.address()
        self.release = release
        self.root = lab.root / f"stranger-{self.address}"
        self.root.mkdir()
        self.ended = 0  # connections, ours and theirs
        self._counted: int | None = None
        quiet = ("dht", "lsd", "upnp", "natpmp", "incoming_utp", "outgoing_utp")
        self._session = lt.session(
            {
                "listen_interfaces": f"{self.address}:0,{self.address}:0s",  # plain, if it works
                "outgoing_interfaces": self.address,
                "alert_mask": lt.alert_category.error
                | lt.alert_category.peer
                | lt.alert_category.connect
                | lt.alert_category.status,
                # BEP 3's obfuscation would be refused before anything else is judged.
                "out_enc_policy": int(lt.enc_policy.pe_disabled),
                "in_enc_policy": int(lt.enc_policy.pe_disabled),
                "min_reconnect_time": 1,
                "max_failcount": 31,
                **{f"enable_{name}": False for name in quiet},
            }
        )
        params: Any = lt.add_torrent_params()
        params.ti = lt.torrent_info(lt.bdecode(release.torrent))
        params.save_path = str(self.root)
        self._handle = self._session.add_torrent(params)
        if identity is not None:
            present(self._handle, identity)

    @property
    def port(self) -> int:
        return self._session.ssl_listen_port()

    async def got_bytes(self) -> int:
        """Payload received, by the session's counter: a torrent's own is up to a second old."""
        self._counted = None
        self._session.post_session_stats()
        await self._wait(lambda: self._counted is not None)
        assert self._counted is not None
        return self._counted

    def slow_down(self) -> None:
        self._handle.set_download_limit(1 << 20)

    async def _wait(self, is_done) -> None:
        with trio.fail_after(PATIENCE_S):
            while not is_done():
                await trio.to_thread.run_sync(partial(self._session.wait_for_alert, 100))
                for alert in self._session.pop_alerts():
                    self.ended += isinstance(alert, _ENDS)
                    if isinstance(alert, lt.session_stats_alert):
                        self._counted = alert.values["net.recv_payload_bytes"]

    async def wait_listening(self) -> None:
        await self._wait(lambda: self.port)

    async def dial(self, host) -> None:
        """Connect, and return once that connection has ended."""
        before = self.ended
        self._handle.connect_peer((host.session.address, host.session.port))
        await self._wait(lambda: self.ended > before)

    async def be_dialled_by(self, torrent) -> None:
        before = self.ended
        torrent.connect(self.address, self.port)
        await self._wait(lambda: self.ended > before)

    async def fetch(self, host, bytes_min: int | None = None) -> None:
        """Connect, and return once enough payload has come."""
        self._handle.connect_peer((host.session.address, host.session.port))
        wanted = bytes_min or self.release.size_bytes
        await self._wait(lambda: self._handle.status().total_done >= wanted)


async def seed(host, release):
    release.write(host.root)
    return await host.add(release, [True] * len(release.spans))


async def assert_gets_nothing(lab, release, identity: SwarmIdentity | None) -> None:
    """Neither when it calls nor when it is called."""
    host = lab.host()
    async with host.session:
        torrent = await seed(host, release)
        stranger = Stranger(lab, release, identity)
        await stranger.wait_listening()
        await stranger.dial(host)
        await stranger.be_dialled_by(torrent)
        assert await stranger.got_bytes() == 0


async def test_the_same_client_with_a_members_leaf_gets_everything(lab, small_release):
    """What makes the attacks below mean something."""
    host = lab.host()
    async with host.session:
        await seed(host, small_release)
        member = Stranger(lab, small_release, lab.swarm_identity())
        await member.wait_listening()
        await member.fetch(host)
        assert await member.got_bytes() >= small_release.size_bytes


async def test_a_client_without_a_certificate_gets_not_one_byte(lab, small_release):
    await assert_gets_nothing(lab, small_release, None)


async def test_a_leaf_of_a_foreign_ca_of_the_same_name_gets_not_one_byte(lab, small_release):
    foreign = new_authority("test swarm CA", now=dt.datetime.now(dt.UTC))
    await assert_gets_nothing(lab, small_release, lab.swarm_identity(foreign))


async def test_a_leaf_of_the_fleets_ca_gets_not_one_byte(lab, small_release):
    now = dt.datetime.now(dt.UTC)
    fleet, key = new_authority("test fleet CA", now=now), new_key()
    leaf = issue_leaf(
        fleet,
        signing_request(key),
        HostId("lab-1", "lab", "web", HostName("h01")),
        addresses=["127.0.0.1"],
        lifetime=HOST_LIFETIME,
        now=now,
    )
    identity = SwarmIdentity(
        certificate_pem=leaf, key_pem=key_to_pem(key), authority_pem=lab.authority.pem
    )
    await assert_gets_nothing(lab, small_release, identity)


async def test_an_expired_leaf_gets_not_one_byte(lab, small_release):
    expired = lab.swarm_identity(age=HOST_LIFETIME + dt.timedelta(hours=1))
    await assert_gets_nothing(lab, small_release, expired)


async def test_a_leaf_that_is_not_valid_yet_gets_not_one_byte(lab, small_release):
    await assert_gets_nothing(lab, small_release, lab.swarm_identity(age=-dt.timedelta(hours=1)))


class BareSocket:
    """Speaks BitTorrent by hand, from a member's address."""

    def __init__(self, lab, release, identity: SwarmIdentity | None = None) -> None:
        self._address = lab.address()
        info_hash = bytes.fromhex(info_hash_v2(release.torrent))[:20]
        flags = bytes(7) + b"\x10"  # BEP 52: understands v2
        self._words = b"\x13BitTorrent protocol" + flags + info_hash + b"-XX0000-000000000000"
        self.torrent_name = info_hash.hex()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        if identity is not None:
            file = lab.root / "bare.pem"
            file.write_bytes(identity.certificate_pem + identity.key_pem)
            self._context.load_cert_chain(file)

    async def ask(self, host, *, tls: bool, name: str | None = None) -> bytes:
        """What the host says before it closes, or its handshake.  Silence is an error."""
        return await trio.to_thread.run_sync(partial(self._ask, host.session, tls, name))

    def _ask(self, session, tls: bool, name: str | None) -> bytes:
        mine = (self._address, 0)
        with socket.create_connection((session.address, session.port), PATIENCE_S, mine) as link:
            try:
                if tls:
                    link = self._context.wrap_socket(link, server_hostname=name)
                    assert link.version() == "TLSv1.3"
                link.sendall(self._words)
                return self._read(link)
            except (ssl.SSLError, ConnectionResetError):
                return b""
            finally:
                link.close()

    def _read(self, link: socket.socket) -> bytes:
        found = b""
        while len(found) < len(self._words) and (part := link.recv(4096)):
            found += part
        return found


async def test_a_bare_socket_with_a_members_leaf_is_answered(lab, small_release):
    """What makes the three attacks below mean something."""
    host, member = lab.host(), BareSocket(lab, small_release, lab.swarm_identity())
    async with host.session:
        await seed(host, small_release)
        answer = await member.ask(host, tls=True, name=member.torrent_name)
        assert b"BitTorrent protocol" in answer


async def test_plain_bittorrent_gets_no_answer(lab, small_release):
    host, stranger = lab.host(), BareSocket(lab, small_release)
    async with host.session:
        await seed(host, small_release)
        answer = await stranger.ask(host, tls=False)
        assert b"BitTorrent" not in answer
        assert len(answer) < 20  # a TLS alert at most


async def test_tls_that_names_no_torrent_gets_no_answer(lab, small_release):
    """Without a name in its hello no torrent's authority could judge the caller."""
    host, stranger = lab.host(), BareSocket(lab, small_release, lab.swarm_identity())
    async with host.session:
        await seed(host, small_release)
        assert await stranger.ask(host, tls=True) == b""


async def test_tls_without_a_certificate_gets_no_answer(lab, small_release):
    host, stranger = lab.host(), BareSocket(lab, small_release)
    async with host.session:
        await seed(host, small_release)
        assert await stranger.ask(host, tls=True, name=stranger.torrent_name) == b""


@pytest.mark.parametrize("members_known", [True, False])  # the latter: just started
async def test_a_stolen_leaf_is_worth_nothing_at_an_address_that_no_member_has(
    lab, small_release, members_known
):
    host = lab.host(members=None if members_known else frozenset())
    async with host.session:
        torrent = await seed(host, small_release)
        thief = Stranger(lab, small_release, lab.swarm_identity())
        await thief.wait_listening()
        if members_known:
            host.session.admit(lab.addresses - {thief.address})
        await thief.dial(host)
        torrent.connect(thief.address, thief.port)
        assert await thief.got_bytes() == 0
        host.session.admit(lab.addresses)  # the control: as a member it gets everything
        await thief.fetch(host)


async def test_a_revoked_host_is_cut_and_cannot_come_back(lab, eight_mib_release):
    host = lab.host()
    async with host.session:
        torrent = await seed(host, eight_mib_release)
        revoked = Stranger(lab, eight_mib_release, lab.swarm_identity())
        revoked.slow_down()
        await revoked.wait_listening()
        await revoked.fetch(host, bytes_min=200_000)
        assert revoked.ended == 0
        host.session.admit(lab.addresses - {revoked.address})
        await revoked._wait(lambda: revoked.ended)
        got = await revoked.got_bytes()
        assert 200_000 <= got < eight_mib_release.size_bytes // 2
        await revoked.dial(host)
        torrent.connect(revoked.address, revoked.port)
        assert await revoked.got_bytes() == got
        assert not torrent._handle.get_peer_info()
        host.session.admit(lab.addresses)
        await revoked.fetch(host, bytes_min=got + 500_000)
