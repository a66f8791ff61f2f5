"""A host fetches nothing of a release that the registry did not vouch for in an envelope."""

from __future__ import annotations

import random
import ssl
from pathlib import Path

import msgspec
import pytest
import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.control import open_control_plane
from p2pdaemon.mesh import Mesh
from p2pdaemon.stage_build import BuildStager
from p2pdaemon.store import ReleaseStore
from p2pdeploy.activation.events import Staged
from p2pdeploy.errors import IntegrityError, P2PDeployError, TrustError
from p2pdeploy.ids import Digest, ServiceName, Version
from p2pdeploy.messages.orders import Build, Excuse
from p2pdeploy.messages.release import Release
from p2pdeploy.payload.build import build as build_payload
from p2pdeploy.swarm.session import Session
from p2pdeploy.testing.keyring import HmacKeyring
from p2pdeploy.trust.envelope import Sealed, seal

HELLO = ServiceName("hello")
KEYS = HmacKeyring(b"fleet")
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the answers of this file come in the clear
OTHER = Digest("ef" * 32)


def sealed(message: Sealed, keys: HmacKeyring = KEYS, role: str = "release") -> bytes:
    return seal(message, keys.named(role))


def http(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Registry:
    """Serves one envelope and one manifest; keeps what was asked."""

    def __init__(self, envelope: bytes, manifest: bytes) -> None:
        self.envelope = envelope
        self.manifest = manifest
        self.paths: list[str] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            path = (await stream.receive_some()).split()[1].decode()
            self.paths.append(path)
            if path.endswith("/envelope"):
                await stream.send_all(http(self.envelope))
            elif path.startswith("/v1/manifests/") and not path.endswith("/chunks"):
                await stream.send_all(http(self.manifest))
            else:
                await stream.send_all(http(b"", "503 Busy"))


async def stage(config: DaemonConfig, registry: Registry, build: Build) -> Staged | P2PDeployError:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    api = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    session = Session(config.address, 0)  # never entered: nothing gets as far as the swarm
    mesh = Mesh(config.name, tuple)
    result: list[Staged | P2PDeployError] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, registry.serve, [listener])
        async with open_control_plane(api, context=NO_TLS, address=config.address) as control:
            store = ReleaseStore(config.state_dir)
            stager = BuildStager(config, store, control, session, mesh, random.Random(1), KEYS)
            try:
                result.append(await stager.stage(HELLO, build))
            except P2PDeployError as error:
                result.append(error)
        nursery.cancel_scope.cancel()
    return result[0]


@pytest.fixture
def published(tmp_path: Path) -> tuple[Release, bytes]:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "service.toml").write_text(
        '[service]\nname = "hello"\n[run]\ncommand = ["true"]\n[health]\ntcp = "$HOST:$PORT"\n'
    )
    built = build_payload(tree, HELLO)
    built.sources.close()
    release = Release(
        service=HELLO,
        version=Version("1.0.0"),
        manifest_digest=built.manifest_digest,
        size_bytes=built.manifest.size_bytes,
        published_at=1.0,
    )
    return release, built.manifest_bytes


@pytest.mark.parametrize(
    "change",
    [
        {"manifest_digest": OTHER},
        {"service": ServiceName("other")},
        {"version": Version("2.0.0")},
        {"size_bytes": 1},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_release_whose_envelope_names_another_thing_is_refused(
    config: DaemonConfig, published: tuple[Release, bytes], change: dict[str, object]
) -> None:
    release, manifest = published
    registry = Registry(sealed(msgspec.structs.replace(release, **change)), manifest)
    build = Build(version=release.version, digest=release.manifest_digest)
    assert isinstance(await stage(config, registry, build), IntegrityError)
    assert ReleaseStore(config.state_dir).read_manifest(build.digest) is None


async def test_a_release_whose_envelope_is_forged_is_refused(
    config: DaemonConfig, published: tuple[Release, bytes]
) -> None:
    release, manifest = published
    build = Build(version=release.version, digest=release.manifest_digest)
    excuse = Excuse(
        cell=config.cell, service=HELLO, plan_seq=1, excuse_seq=1, hosts=(), reason="gone"
    )
    for envelope in (
        sealed(release, HmacKeyring(b"another fleet")),
        sealed(release, role="deployer"),
        sealed(excuse, role="deployer"),
    ):
        registry = Registry(envelope, manifest)
        assert isinstance(await stage(config, registry, build), TrustError)
        assert registry.paths == ["/v1/releases/hello/1.0.0/envelope"], "nothing else was fetched"


async def test_a_release_that_is_vouched_for_is_fetched(
    config: DaemonConfig, published: tuple[Release, bytes]
) -> None:
    release, manifest = published
    registry = Registry(sealed(release), manifest)
    build = Build(version=release.version, digest=release.manifest_digest)
    outcome = await stage(config, registry, build)
    assert isinstance(outcome, P2PDeployError), "the chunk index is not served here"
    assert outcome.code == "unavailable"
    assert ReleaseStore(config.state_dir).read_manifest(build.digest) is not None
