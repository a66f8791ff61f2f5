"""A host stages nothing that its publishers did not sign, whoever orders it and whoever serves it.

Every attack goes through the daemon's own code: its client of a stand-in control plane, and the
real verifier.
"""

from __future__ import annotations

import datetime as dt
import errno
import random
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
import trio

from p2pdaemon import verify_release
from p2pdaemon.config import DaemonConfig
from p2pdaemon.control import ControlPlane, open_control_plane
from p2pdaemon.disk import NoRoomError
from p2pdaemon.disk_room import DiskRoom, DiskSpace
from p2pdaemon.judge_bundle import SEEN_FILE
from p2pdaemon.mesh import CellMesh
from p2pdaemon.stage_build import BuildStager
from p2pdaemon.store import ReleaseStore
from p2pdaemon.verify_release import ReleaseJudge
from p2pdeploy.errors import IntegrityError, P2PDeployError, TrustError, UnavailableError
from p2pdeploy.ids import Digest, ServiceName, Version
from p2pdeploy.messages.orders import Build
from p2pdeploy.payload.build import build as build_payload
from p2pdeploy.swarm.session import Session
from p2pdeploy.trust.releases.bundle import ReleaseBundle
from p2pdeploy.trust.releases.documents import to_document
from p2pdeploy.trust.releases.library import Targets
from p2pdeploy.trust.releases.limits import BUNDLE_BYTES_MAX
from p2pdeploy.trust.releases.online import sign_snapshot, sign_timestamp
from p2pdeploy.trust.releases.proposals import propose_release, sign
from p2pdeploy.trust.releases.release_target import ReleaseTarget
from p2pdeploy.trust.releases.seen import Seen
from p2pdeploy.trust.releases.verify import VerifiedRelease
from tests.p2pdeploy.swarm.swarm_leaves import swarm_identity
from tests.p2pdeploy.trust.release_fleet import Fleet, key

HELLO = ServiceName("web")  # what the fleet of release_fleet publishes
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the answers of this file come in the clear
DAY = dt.timedelta(days=1)


def http(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Registry:
    """Serves one bundle and one manifest, which may be an attacker's; keeps what was asked."""

    def __init__(self, manifest: bytes) -> None:
        self.bundle = b""
        self.raw_answer = b""
        self.manifest = manifest
        self.asked: list[str] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            path = (await stream.receive_some()).split()[1].decode()
            self.asked.append(path)
            if path.startswith("/v1/bundles/"):
                await stream.send_all(self.raw_answer or http(self.bundle))
                if self.raw_answer:
                    await trio.sleep_forever()
            elif path.startswith("/v1/manifests/"):
                await stream.send_all(http(self.manifest))
            else:
                await stream.send_all(http(b"", "503 Busy"))


class World:
    """A fleet that signs, a host, and whoever answers in the control plane's place."""

    def __init__(self, config: DaemonConfig, folder: Path) -> None:
        self.config = config
        self.fleet = Fleet(dt.datetime.now(dt.UTC))
        self.first_root = self.fleet.first_root
        self.manifest, self.target = _payload(folder)
        self.registry = Registry(self.manifest)
        self.store = ReleaseStore(config.state_dir)

    def sign(self, version: str = "1.0.0", *signers) -> Build:
        """Publish the payload as *version*, properly signed; the registry serves it."""
        self.fleet.publish(msgspec.structs.replace(self.target, version=Version(version)), *signers)
        self.registry.bundle = self.fleet.bundle()
        return self.build(version)

    def build(self, version: str = "1.0.0") -> Build:
        return Build(version=Version(version), digest=self.target.manifest_digest)

    async def refusal(self, build: Build) -> P2PDeployError:
        """Why *build* can't be staged.  It always can't: there is no room for it."""
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        api = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        # Never entered: nothing gets that far.
        session = Session(self.config.address, 0, swarm_identity())
        mesh = CellMesh(self.config.name, tuple)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self.registry.serve, [listener])
            context = {"context": NO_TLS, "address": self.config.address}
            async with open_control_plane(api, **context) as control:
                judge = ReleaseJudge(control, self.config.state_dir, self.first_root)
                rng = random.Random(1)
                full = DiskSpace(total_bytes=1, free_bytes=0)
                room = DiskRoom(self.config.state_dir, look=lambda _: full)
                stager = BuildStager(
                    self.config, self.store, control, session, mesh, rng, judge, room
                )
                with pytest.raises(P2PDeployError) as refusal:
                    await stager.stage(HELLO, build)
            nursery.cancel_scope.cancel()
        return refusal.value

    async def accepts(self, build: Build) -> None:
        """Its manifest, which is asked for last, is taken; for the rest there is no room."""
        error = await self.refusal(build)
        assert isinstance(error, NoRoomError), error
        assert self.registry.asked[-1] == f"/v1/manifests/{build.digest}", self.registry.asked
        assert self.store.read_manifest(build.digest) is not None
        self.forget_manifest(build)

    async def refuses(self, build: Build, code: str) -> None:
        """It is refused before anything of it is fetched, and nothing is remembered."""
        seen, self.registry.asked = self.seen(), []
        error = await self.refusal(build)
        assert isinstance(error, TrustError), error
        assert error.code == code, error
        assert [path.split("?")[0] for path in self.registry.asked] == ["/v1/bundles/web"]
        assert self.store.digests() == []
        assert self.seen() == seen

    def seen(self) -> bytes:
        path = self.config.state_dir / SEEN_FILE
        return path.read_bytes() if path.exists() else b""

    def forget_manifest(self, build: Build) -> None:
        self.store.remove(build.digest)


def _payload(folder: Path) -> tuple[bytes, ReleaseTarget]:
    tree = folder / "tree"
    tree.mkdir()
    (tree / "service.toml").write_text(
        '[service]\nname = "web"\n[run]\ncommand = ["true"]\n[health]\ntcp = "$HOST:$PORT"\n'
    )
    built = build_payload(tree, HELLO)
    built.sources.close()
    target = ReleaseTarget.of_manifest(
        HELLO, "1.0.0", built.manifest_bytes, size_bytes=built.manifest.size_bytes
    )
    return built.manifest_bytes, target


@pytest.fixture
def world(config: DaemonConfig, store: ReleaseStore, tmp_path: Path) -> World:
    return World(config, tmp_path)


async def test_a_signed_release_is_fetched_and_what_was_seen_is_kept(world: World) -> None:
    await world.accepts(world.sign())
    seen = Seen.from_bytes(world.seen())
    assert seen.roles["svc/web"].version == 1
    assert (world.config.state_dir / SEEN_FILE).stat().st_mode & 0o777 == 0o600
    assert world.registry.asked[0] == "/v1/bundles/web?root=1"


async def test_rollback_to_an_older_bundle_is_refused(world: World) -> None:
    """A control plane restored from a backup, or a thief who kept what was served once."""
    old = world.sign("1.0.0")
    kept = world.registry.bundle
    await world.accepts(world.sign("2.0.0"))
    world.registry.bundle = kept
    await world.refuses(old, "release-rollback")


async def test_freeze_by_an_expired_timestamp_is_refused(world: World) -> None:
    world.fleet.now -= 2 * DAY
    await world.refuses(world.sign(), "release-freeze")


async def test_mix_and_match_of_two_moments_is_refused(world: World) -> None:
    build = world.sign("1.0.0")
    before = ReleaseBundle.from_bytes(world.registry.bundle)
    world.sign("2.0.0")
    after = ReleaseBundle.from_bytes(world.registry.bundle)
    mixed = msgspec.structs.replace(after, service=before.service)
    world.registry.bundle = mixed.to_bytes()
    await world.refuses(build, "release-mix-and-match")


async def test_a_publisher_of_another_service_can_not_sign_this_one(world: World) -> None:
    """Nor can the control plane's own keys: they are handed the document as it is signed."""
    world.sign("1.0.0")
    parts = ReleaseBundle.from_bytes(world.registry.bundle)
    thief, online, now = key(40), world.fleet.online, world.fleet.now
    target = msgspec.structs.replace(world.target, version=Version("2.0.0"))
    proposal = propose_release(parts.service, target, keep=(), now=now)
    for forger in (thief, online.snapshot, online.timestamp):
        service = to_document(
            proposal.payload, Targets, dict([sign(proposal, forger)]), where="svc/web"
        )
        root = world.fleet.repository.root
        changed = {"svc/web": service}
        snapshot = sign_snapshot(root, parts.snapshot, changed, online.snapshot, now=now)
        timestamp = sign_timestamp(root, parts.timestamp, snapshot, online.timestamp, now=now)
        forged = msgspec.structs.replace(
            parts, timestamp=timestamp, snapshot=snapshot, service=service
        )
        world.registry.bundle = forged.to_bytes()
        await world.refuses(world.build("2.0.0"), "release-wrong-key")


async def test_an_unsigned_release_is_not_staged(world: World) -> None:
    world.sign("1.0.0")
    await world.refuses(world.build("2.0.0"), "release-unknown")


async def test_a_service_that_nobody_signed_for_is_not_staged(world: World) -> None:
    world.registry.raw_answer = http(
        b'{"error":{"code":"not-found","message":"no release of this service is signed"}}',
        "404 Not Found",
    )
    await world.refuses(world.build(), "release-unknown")


async def test_a_stolen_deployer_key_can_not_order_a_digest_that_no_publisher_signed(
    world: World,
) -> None:
    """The order itself is perfect; what it names is not what was signed as that version."""
    ordered = Build(version=world.sign().version, digest=Digest("ef" * 32))
    error = await world.refusal(ordered)
    assert (type(error), error.code) == (TrustError, "release-unknown")
    assert "ef" * 32 in str(error)
    assert [path.split("?")[0] for path in world.registry.asked] == ["/v1/bundles/web"]
    assert world.store.digests() == []


async def test_endless_data_in_the_place_of_a_bundle_is_not_read(world: World) -> None:
    build = world.sign()
    head = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
    for length in (f"Content-Length: {BUNDLE_BYTES_MAX + 1}", "X-Says: nothing"):
        world.registry.raw_answer = f"{head}{length}\r\n\r\n".encode() + bytes(100_000)
        await world.refuses(build, "release-endless-data")


async def test_slow_retrieval_of_a_bundle_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ControlPlane._get.__kwdefaults__, "timeout_s", 0.2)
    build = world.sign()
    world.registry.raw_answer = http(world.registry.bundle)[:-1]  # the last byte never comes
    error = await world.refusal(build)
    assert isinstance(error, UnavailableError)
    assert "no answer within" in str(error)
    world.registry.raw_answer = b""
    await world.accepts(build)


async def test_another_manifest_than_the_signed_one_is_refused(world: World) -> None:
    build = world.sign()
    world.registry.manifest = world.manifest + b" "
    assert isinstance(await world.refusal(build), IntegrityError)
    assert world.store.digests() == []


@pytest.mark.processes
def test_the_daemon_judges_without_a_second_http_client() -> None:
    """python-tuf's own would not fit into the memory that an idle daemon may have."""
    look = "import p2pdaemon.run, sys; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert {"p2pdaemon", "tuf", "httpx2"} <= loaded
    assert loaded.isdisjoint({"urllib3", "requests"})


async def test_what_nobody_thought_of_is_no_verdict_and_no_end_of_the_daemon(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hostile bytes in a library: whatever it raises over them."""

    def judge(bundle: bytes, *_: object, **__: object) -> None:
        raise MemoryError(f"{len(bundle)} bytes")

    build = world.sign()
    monkeypatch.setattr(verify_release, "verify_release", judge)
    error = await world.refusal(build)
    assert (type(error), error.code) == (UnavailableError, "verify-failed")
    assert world.store.digests() == []
    monkeypatch.undo()
    await world.accepts(build)


async def test_a_full_disk_is_told_as_one_and_the_release_is_staged_once_there_is_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no verdict that the host would not remember."""

    def write(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "no space", str(path))

    build = world.sign()
    monkeypatch.setattr(verify_release, "write_private", write)
    error = await world.refusal(build)
    assert (type(error), error.code) == (UnavailableError, "disk-full")
    assert world.store.digests() == []
    monkeypatch.undo()
    await world.accepts(build)


async def test_a_verdict_that_does_not_come_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk hangs: the host goes on with all else, and asks again later."""
    go_on = threading.Event()
    monkeypatch.setattr(verify_release, "_VERDICT_S", 0.1)
    build = world.sign()
    monkeypatch.setattr(verify_release, "write_private", lambda *_: go_on.wait(10))
    try:
        error = await world.refusal(build)
    finally:
        go_on.set()
    assert (type(error), error.code) == (UnavailableError, "verify-failed")
    assert world.store.digests() == []


async def test_a_damaged_memory_is_told_and_nothing_is_staged(world: World) -> None:
    """Not begun anew: forgetting on damage would be rollback for whoever can do damage."""
    path = world.config.state_dir / SEEN_FILE
    path.write_bytes(b"damage")
    path.chmod(0o600)
    error = await world.refusal(world.sign())
    assert (type(error), error.code) == (TrustError, "release-malformed")
    assert world.registry.asked == []


async def test_one_verification_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once could judge the older bundle after the newer one, and call it a rollback."""
    builds = [world.sign("1.0.0"), world.sign("2.0.0")]
    under_way = 0
    judge_one = verify_release.verify_release

    class Source:
        async def fetch_bundle(self, service: ServiceName, root_version: int) -> bytes:
            nonlocal under_way
            under_way += 1
            await trio.lowlevel.checkpoint()
            return world.fleet.bundle()

    def judge_alone(*arguments, **named) -> VerifiedRelease:
        nonlocal under_way
        verdict = judge_one(*arguments, **named)
        assert under_way == 1
        under_way -= 1
        return verdict

    monkeypatch.setattr(verify_release, "verify_release", judge_alone)
    judge = ReleaseJudge(Source(), world.config.state_dir, world.first_root)
    async with trio.open_nursery() as nursery:
        for build in builds:
            nursery.start_soon(judge.verify, HELLO, build)
    assert under_way == 0
