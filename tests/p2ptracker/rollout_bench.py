"""A real control plane without listeners, and hosts that say what a test makes them say.

The database, the store, the cells and the orchestrator are the real ones; a delegate's words come
in through ``CellReplica.sync`` as over HTTP.  Nothing happens by itself: a test looks.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import trio

from p2pdeploy.gossip.anti_entropy import admit, answer_diff, offer
from p2pdeploy.gossip.state import CellState, item_of
from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName, RolloutId, ServiceName, Version
from p2pdeploy.manifest import Manifest, digest_of
from p2pdeploy.messages.api import RolloutRequest, RolloutView
from p2pdeploy.messages.attestation import Attestation, Rank, ServiceState
from p2pdeploy.messages.gossip import Status
from p2pdeploy.messages.orders import Go, Order, Plan, Settled
from p2pdeploy.messages.signing import SignatureRequest
from p2pdeploy.messages.sync import MemberView, SyncDiff, SyncExchange, SyncItems, SyncOffer
from p2pdeploy.payload.build import build
from p2pdeploy.testing.fleet_keys import FleetKeys
from p2pdeploy.topology import Host
from p2pdeploy.trust.envelope import Sealed
from p2pdeploy.trust.releases.proposals import Proposal, sign
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.control_plane import ControlPlane, open_control_plane
from p2ptracker.rollouts.orchestrator import Orchestrator
from p2ptracker.storage.releases import ManifestRow, insert_release
from tests.trust_folder import add_trust

WEB_CELL = CellId("lab.web.c0")
DB_CELL = CellId("lab.db.c0")
HELLO = ServiceName("hello")
API = ServiceName("api")
EVERYBODY = ("w1", "w2", "w3", "w4")  # in the web cell
EPOCH_S = 1_700_000_000.0

_STATES: dict[Rank, ServiceState] = {
    Rank.ACCEPTED: "fetching",
    Rank.STAGED: "staged",
    Rank.STARTED: "starting",
    Rank.HEALTHY: "healthy",
    Rank.FAILED: "failed",
}


def inventory() -> list[Host]:
    """w1 and w3 in fd1, w2 and w4 in fd0 of one cell; d1 alone in another."""
    hosts = [_host(f"w{n}", WEB_CELL, f"fd{n % 2}", n) for n in range(1, 5)]
    return [*hosts, _host("d1", DB_CELL, "fd0", 5)]


def _host(name: str, cell: CellId, fault_domain: str, number: int) -> Host:
    return Host(
        name=HostName(name),
        address=f"127.88.2.{number}",
        environment="lab",
        machine_function=cell.split(".")[1],
        cell=cell,
        fault_domain=FaultDomain(fault_domain),
        gossip_port=7946,
        swarm_port=6881,
        host_port=7947,
    )


def make_fleet(folder: Path, hosts: list[Host] | None = None) -> Path:
    """A fleet's folder with :func:`inventory`, or other hosts."""
    folder.mkdir(exist_ok=True)
    add_trust(folder)
    text = 'address = "127.0.0.1"\napi_port = 0\nannounce_port = 0\nupload_port = 0\n'
    (folder / "tracker.toml").write_text(text)
    (folder / "inventory.json").write_bytes(msgspec.json.encode(hosts or inventory()))
    return folder


def asks(version: str = "1", service: str = HELLO, **changes: object) -> RolloutRequest:
    """A request for all web hosts, unless *changes* say otherwise."""
    fields: dict[str, object] = {"service": service, "version": version, **changes}
    if "hosts" not in changes:
        fields = {"environment": "lab", "machine_function": "web", **fields}
    return msgspec.convert(fields, RolloutRequest)


class World:
    """The control plane, its clock, and the hosts.  Made by :func:`open_world`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = EPOCH_S
        self.plane: ControlPlane
        self._stack = AsyncExitStack()
        self._states: dict[CellId, CellState] = {}
        self._seq = 0
        self.digests: dict[tuple[str, str], Digest] = {}

    async def start(self) -> None:
        """Open the control plane on the folder."""
        opened = open_control_plane(self.folder, clock=lambda: self.now)
        self.plane = await self._stack.enter_async_context(opened)
        keys = self.plane.trust.keys
        if "rollout" not in keys:  # of people by now; what hosts know is the test's business
            keys = {**keys, "rollout": SigningKey.generate(role="rollout")}
        self.keys = FleetKeys(self.plane.trust.fleet, keys)

    async def stop(self) -> None:
        """Close it; the hosts keep what they know."""
        await self._stack.aclose()

    async def restart(self) -> None:
        """Close it and open it again on the same folder."""
        await self.stop()
        await self.start()

    @property
    def desk(self) -> Orchestrator:
        return self.plane.orchestrator

    async def publish(self, version: str, service: str = HELLO) -> None:
        """Put a release of one small file into the registry."""
        tree = self.folder / "payloads" / f"{service}-{version}"
        tree.mkdir(parents=True)
        (tree / "service.toml").write_text(
            f'[service]\nname = "{service}"\n[run]\ncommand = ["true", "{version}"]\n'
            '[health]\ntcp = "$HOST:$PORT"\n'
        )
        built = build(tree, ServiceName(service))
        store, manifest = self.plane.store, built.manifest
        store.put_object("manifest", built.manifest_digest, built.manifest_bytes)
        store.adopt(manifest.blobs[0].digest, tree / "service.toml")
        row = _manifest_row(built.manifest_digest, manifest)
        await self.plane.database.write(
            lambda c: insert_release(
                c, ServiceName(service), Version(version), row, {}, [], self.now
            )
        )
        self.digests[service, version] = built.manifest_digest
        await self._sign(ServiceName(service), Version(version))

    async def _sign(self, service: ServiceName, version: Version) -> None:
        desk, pem = self.plane.releases, self.plane.trust.paths.publisher_key.read_bytes()
        in_use = self.desk.versions_in_use(service)
        view = await desk.propose(service, version, in_use)
        proposal = Proposal.from_bytes(view.proposal)
        key_id, signature = sign(proposal, SigningKey.from_pem(pem, role="publisher"))
        request = SignatureRequest(
            key_id=key_id, signature=signature, payload_digest=digest_of(proposal.payload)
        )
        assert (await desk.sign(service, version, request, in_use)).state == "signed"

    # -- the hosts ---------------------------------------------------------------------------

    def sync(self, *down: str, cell: CellId = WEB_CELL) -> None:
        """A delegate of *cell* brings what its hosts say and takes the orders; *down* are dead."""
        replica = self.plane.cells.get(cell)
        state = self._states.setdefault(cell, CellState(cell))
        names = list(replica.hosts)
        speaker = next(name for name in names if name not in down)
        members = tuple(
            MemberView(name, Status.UNREACHABLE if name in down else Status.ALIVE, 0)
            for name in names
        )
        clocks = {"now": trio.current_time(), "wall_s": self.now}
        diff = replica.sync(
            SyncOffer(cell=cell, host=speaker, members=members, offer=offer(state)), **clocks
        )
        assert isinstance(diff, SyncDiff)
        exchange = answer_diff(state, diff.diff)
        items = replica.sync(SyncExchange(cell=cell, host=speaker, exchange=exchange), **clocks)
        assert isinstance(items, SyncItems)
        admit(state, items.items.items, self.keys.open)

    def say(
        self,
        names: Iterable[str],
        plan_seq: int,
        rank: Rank,
        *,
        runs: str = "",
        attempt: int = 0,
        service: ServiceName = HELLO,
        cell: CellId = WEB_CELL,
    ) -> None:
        """Hosts attest how far they are with a plan; *runs* is the version on them, if any."""
        state = self._states.setdefault(cell, CellState(cell))
        hosts = self.plane.cells.get(cell).hosts
        failed = rank is Rank.FAILED
        for name in names:
            self._seq += 1
            word = Attestation(
                cell=cell,
                host=HostName(name),
                service=service,
                fault_domain=hosts[HostName(name)].fault_domain,
                epoch=1,
                seq=self._seq,
                plan_seq=plan_seq,
                attempt=attempt,
                rank=rank,
                state=_STATES[rank],
                version=Version(runs),
                digest=self.digests[service, runs] if runs else Digest(""),
                reason_code="exited" if failed else "",
                reason="exited with 1" if failed else "",
            )
            state.merge(item_of(word, self.keys.seal(word)))
        self.sync(cell=cell)

    def hear(self, order: Sealed) -> None:
        """The hosts of the web cell have *order*, which this control plane did not issue."""
        state = self._states.setdefault(WEB_CELL, CellState(WEB_CELL))
        state.merge(item_of(order, self.keys.seal(order)))
        self.sync()

    def order(self, key: str, cell: CellId = WEB_CELL) -> Order | None:
        """What the hosts hold under *key*, verified; None when no such order reached them."""
        self.sync(cell=cell)
        item = self._states[cell].get(key)
        if item is None:
            return None
        order = self.keys.open(item.envelope)
        assert isinstance(order, Order)
        return order

    # -- short ways --------------------------------------------------------------------------

    async def apply(self, *args: str, **changes: object) -> RolloutView:
        return await self.desk.apply(asks(*args, **changes))

    async def look(self, seconds: float = 0.0) -> None:
        """Let time pass, and look once."""
        self.now += seconds
        await self.desk.look()

    async def state(self, rollout: str) -> str:
        return (await self.desk.get(RolloutId(rollout))).state

    def plan(self, service: str = HELLO, cell: CellId = WEB_CELL) -> Plan:
        order = self.order(f"plan/{service}", cell)
        assert isinstance(order, Plan)
        return order

    def settled(self, service: str = HELLO) -> Settled:
        order = self.order(f"settled/{service}")
        assert isinstance(order, Settled)
        return order

    def go(self, cell: CellId = WEB_CELL) -> Go:
        order = self.order("go", cell)
        assert isinstance(order, Go)
        return order

    def granted(self, cell: CellId = WEB_CELL) -> set[tuple[str, str]]:
        """(service, phase) of everything that the newest GO allows."""
        return {(grant.service, grant.phase) for grant in self.go(cell).grants}

    async def complete(self, version: str, service: ServiceName = HELLO) -> RolloutView:
        """Roll *version* out to all web hosts, each of which becomes healthy."""
        view = await self.apply(version, service)
        await self.look()
        plan_seq = self.plan(service).plan_seq
        self.say(EVERYBODY, plan_seq, Rank.HEALTHY, runs=version, service=service)
        await self.look()
        view = await self.desk.get(view.id)
        assert view.state == "complete", view
        return view


def _manifest_row(digest: Digest, manifest: Manifest) -> ManifestRow:
    return ManifestRow(
        digest=digest,
        chunk_index=manifest.chunk_index,
        info_hash_v2=digest,
        size_bytes=manifest.size_bytes,
        file_count=1,
        piece_size_bytes=manifest.piece_size_bytes,
    )


@asynccontextmanager
async def open_world(folder: Path) -> AsyncGenerator[World]:
    """A control plane whose web cell is alive, with hello 1 and 2 and api 1 published."""
    world = World(make_fleet(folder))
    await world.start()
    try:
        for version, service in (("1", HELLO), ("2", HELLO), ("1", API)):
            await world.publish(version, service)
        world.sync()
        yield world
    finally:
        await world.stop()
