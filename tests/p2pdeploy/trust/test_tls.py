"""Certificates and TLS: who gets a connection, and with whom."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import pytest
import trio
from trio.testing import memory_stream_pair

from p2pdeploy.errors import ConfigError, TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.trust.certificates import (
    HOST_LIFETIME,
    OPERATOR_LIFETIME,
    Authority,
    issue_leaf,
    issue_swarm_leaf,
    key_to_pem,
    new_authority,
    new_key,
    signing_request,
)
from p2pdeploy.trust.identity import ControlPlaneId, HostId, Identity, OperatorId
from p2pdeploy.trust.tls import (
    IdentityFiles,
    Peer,
    canonical_serial,
    client_context,
    is_control_plane,
    is_host,
    peer_of,
    server_context,
)

NOW = dt.datetime.now(dt.UTC)
CONTROL = ControlPlaneId("lab")
H1 = HostId("lab", "prod", "web", HostName("h1"))
ANN = OperatorId("lab", "ann")


class Pki:
    """One CA and the identity files of whoever is asked for."""

    def __init__(self, folder: Path, name: str = "lab") -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.authority: Authority = new_authority(f"{name} fleet CA", now=NOW)
        (self.folder / "ca.pem").write_bytes(self.authority.pem)

    def files(
        self,
        identity: Identity,
        *,
        roles: tuple[str, ...] = (),
        now: dt.datetime = NOW,
        swarm: bool = False,
    ) -> IdentityFiles:
        key, name = new_key(), f"{len(list(self.folder.iterdir()))}"
        request = signing_request(key)
        if swarm:
            pem = issue_swarm_leaf(self.authority, request, "h1", now=now)
        else:
            lifetime = OPERATOR_LIFETIME if isinstance(identity, OperatorId) else HOST_LIFETIME
            addresses = () if isinstance(identity, OperatorId) else ("127.0.0.1",)
            pem = issue_leaf(
                self.authority,
                request,
                identity,
                addresses=addresses,
                roles=roles,
                lifetime=lifetime,
                now=now,
            )
        certificate, key_path = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(pem)
        key_path.write_bytes(key_to_pem(key))
        return IdentityFiles(
            certificate=certificate, key=key_path, authority=self.folder / "ca.pem"
        )


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


async def connect(server: ssl.SSLContext, client: ssl.SSLContext) -> Peer:
    """Shake hands over memory; the peer as the server sees it."""
    left, right = memory_stream_pair()
    seen: list[Peer] = []

    async def serve() -> None:
        stream = trio.SSLStream(left, server, server_side=True)
        await stream.do_handshake()
        seen.append(peer_of(stream.getpeercert()))
        await stream.send_all(b"welcome")

    async def call() -> None:
        stream = trio.SSLStream(right, client)
        await stream.do_handshake()
        assert await stream.receive_some() == b"welcome"

    async def and_close(side: trio.abc.Stream, run: object) -> None:
        try:
            await run()  # type: ignore[operator]
        finally:
            await side.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(and_close, left, serve)
        nursery.start_soon(and_close, right, call)
    return seen[0]


def both(
    server: IdentityFiles, client: IdentityFiles, *, demands: bool = True
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return (
        server_context(server, demands_certificate=demands),
        client_context(client, is_control_plane, who="the control plane"),
    )


def test_a_serial_number_has_one_spelling() -> None:
    assert canonical_serial("02ca4c") == canonical_serial("2CA4C") == "2CA4C"


async def test_both_sides_learn_who_the_other_is(pki: Pki) -> None:
    operator = pki.files(ANN, roles=("publisher:web", "viewer"))
    peer = await connect(*both(pki.files(CONTROL), operator))
    assert (peer.identity, peer.roles) == (ANN, ("publisher:web", "viewer"))
    assert int(peer.serial, 16) > 0


async def test_a_hosts_leaf_is_no_certificate_of_the_control_plane(pki: Pki) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await connect(*both(pki.files(H1), pki.files(ANN)))
    assert "not the control plane" in str(caught.value.exceptions[0].__cause__)


async def test_an_operators_leaf_serves_nothing(pki: Pki) -> None:
    with pytest.raises(ExceptionGroup):
        await connect(
            server_context(pki.files(ANN), demands_certificate=True),
            client_context(pki.files(H1), lambda _: True, who="anybody"),
        )


async def test_another_hosts_leaf_is_not_the_host_that_was_asked_for(pki: Pki) -> None:
    h2 = pki.files(HostId("lab", "prod", "web", HostName("h2")))
    server = server_context(h2, demands_certificate=True)
    with pytest.raises(ExceptionGroup):
        await connect(server, client_context(pki.files(CONTROL), is_host("h1"), who="h1"))
    peer = await connect(server, client_context(pki.files(CONTROL), is_host("h2"), who="h2"))
    assert peer.identity == CONTROL


async def test_another_fleets_ca_opens_nothing(pki: Pki, tmp_path: Path) -> None:
    foreign = Pki(tmp_path, "foreign")
    with pytest.raises(ExceptionGroup):
        await connect(*both(pki.files(CONTROL), foreign.files(ANN)))
    mixed = foreign.files(ANN)
    trusting = IdentityFiles(
        certificate=mixed.certificate, key=mixed.key, authority=pki.folder / "ca.pem"
    )
    with pytest.raises(ExceptionGroup):
        await connect(*both(pki.files(CONTROL), trusting))


async def test_an_expired_leaf_opens_nothing(pki: Pki) -> None:
    expired = pki.files(H1, now=NOW - dt.timedelta(hours=25))
    with pytest.raises(ExceptionGroup):
        await connect(*both(pki.files(CONTROL), expired))


async def test_without_a_certificate_nobody_is_there(pki: Pki) -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.load_verify_locations(pki.folder / "ca.pem")
    with pytest.raises(ExceptionGroup):
        await connect(server_context(pki.files(CONTROL), demands_certificate=True), bare)
    with pytest.raises(ExceptionGroup) as caught:
        await connect(server_context(pki.files(CONTROL), demands_certificate=False), bare)
    assert "no certificate" in repr(caught.value.exceptions)


async def test_tls_1_2_is_refused(pki: Pki) -> None:
    server, client = both(pki.files(CONTROL), pki.files(ANN))
    client.minimum_version = ssl.TLSVersion.TLSv1_2
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ExceptionGroup):
        await connect(server, client)


async def test_a_swarm_leaf_opens_nothing_but_swarms(pki: Pki) -> None:
    with pytest.raises(ExceptionGroup):
        await connect(*both(pki.files(CONTROL), pki.files(H1, swarm=True)))


def test_names_in_a_signing_request_are_ignored(pki: Pki) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    key = new_key()
    wish = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "control-plane")])
    names = x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier("spiffe://lab/control-plane")]
    )
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(wish)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    pem = issue_leaf(pki.authority, request, H1, addresses=(), lifetime=HOST_LIFETIME, now=NOW)
    issued = x509.load_pem_x509_certificate(pem)
    assert "control-plane" not in issued.subject.rfc4514_string()
    found = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://lab/prod/web/h1"]


@pytest.mark.parametrize("request_", [b"", b"\x30\x80", b"x" * 5_000])
def test_a_malformed_signing_request_is_refused(pki: Pki, request_: bytes) -> None:
    with pytest.raises(TrustError):
        issue_leaf(pki.authority, request_, H1, addresses=(), lifetime=HOST_LIFETIME, now=NOW)


def test_a_missing_identity_is_one_clear_line(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    with pytest.raises(ConfigError, match="identity is not usable"):
        server_context(
            IdentityFiles(certificate=nothing, key=nothing, authority=nothing),
            demands_certificate=True,
        )
