"""A release of real bytes, hosts with real sessions on loopback, and a dealer in this process."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import CellId, Digest, HostName, ServiceName
from p2pdeploy.manifest import Blob, Manifest, digest_of
from p2pdeploy.merkle import PieceTree
from p2pdeploy.messages.deal import Deal, DealReply, DealRequest, GapReply, GapRequest
from p2pdeploy.messages.swarm import Members
from p2pdeploy.payload.torrent import PieceCheck, piece_spans, torrent_bytes
from p2pdeploy.swarm.deal import Dealer
from p2pdeploy.swarm.deal_terms import DealConfig
from p2pdeploy.swarm.dealer_client import ReleaseKey
from p2pdeploy.swarm.fetch import FetchReport, fetch_release
from p2pdeploy.swarm.fetch_terms import FetchConfig, Mesh, Neighbour
from p2pdeploy.swarm.holdings import bitset_of
from p2pdeploy.swarm.keep_links import OpenTrunk
from p2pdeploy.swarm.pace import DealPace
from p2pdeploy.swarm.partly_here import PartlyHere
from p2pdeploy.swarm.session import Session
from p2pdeploy.swarm.stripes import ALL_STRIPES
from p2pdeploy.swarm.torrent import Torrent
from tests.p2pdeploy.swarm.swarm_leaves import SWARM_CA, swarm_identity

PIECE_BYTES = 32 * 1024
HOSTS_MAX = 24


class Release:
    """Blobs of random bytes, given in torrent order; each ends in a short piece.

    With *same_bytes* blobs of one size have one content.
    """

    def __init__(
        self, sizes_bytes: dict[str, int], seed: int = 1, *, same_bytes: bool = False
    ) -> None:
        rng = random.Random(seed)
        self.blobs = {
            path: random.Random(size).randbytes(size) if same_bytes else rng.randbytes(size)
            for path, size in sizes_bytes.items()
        }
        self.manifest = Manifest(
            service=ServiceName("hello"),
            piece_size_bytes=PIECE_BYTES,
            entries=(),
            blobs=tuple(self._blob(path, data) for path, data in self.blobs.items()),
            chunk_index=Digest("00" * 32),
            chunk_index_bytes=0,
        )
        self.digest = digest_of(self.manifest.to_bytes())
        self.torrent = torrent_bytes(self.manifest, self.digest, SWARM_CA.pem)
        self.spans = piece_spans(self.manifest)
        self._check = PieceCheck(self.manifest)
        self.size_bytes = self.manifest.size_bytes

    def _blob(self, path: str, data: bytes) -> Blob:
        tree = PieceTree(PIECE_BYTES)
        tree.feed(data)
        root, layer = tree.finish()
        return Blob(
            path=path,
            size_bytes=len(data),
            digest=digest_of(data),
            pieces_root=root,
            piece_layer=layer,
        )

    def piece(self, number: int) -> bytes:
        span = self.spans[number]
        blob = list(self.blobs.values())[span.blob_index]
        return blob[span.offset_bytes : span.offset_bytes + span.size_bytes]

    def verify(self, number: int, data: bytes) -> bool:
        return self._check.is_right(number, data)

    def paths(self, root: Path) -> dict[str, Path]:
        return {path: root / path for path in reversed(self.blobs)}

    def write(self, root: Path, blobs: dict[str, bytes] | None = None) -> None:
        for path, data in (blobs or self.blobs).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)

    def is_at(self, root: Path) -> bool:
        return all((root / path).read_bytes() == data for path, data in self.blobs.items())


class Origin:
    """The dealer and the bytes, as one DealerClient.  Can be down, and can send garbage."""

    def __init__(self, release: Release, config: DealConfig | None = None) -> None:
        self.release = release
        sizes = [span.size_bytes for span in release.spans]
        self.dealer = Dealer(sizes, config)
        self.down = False
        self.sends_after: Callable[[], bool] = lambda: True  # no bytes before
        self.corrupt_left = 0
        self.requests: list[DealRequest] = []
        self.filled: list[GapRequest] = []
        self.sent_bytes = 0
        self.asked = trio.Event()  # once there is a request
        self.asked_again = trio.Event()  # at the next one

    async def deal(self, request: DealRequest) -> tuple[DealReply, bytes]:
        await trio.sleep(0.001)
        if self.down:
            raise UnavailableError("the origin is down")
        self.requests.append(request)
        self.asked.set()
        self.asked_again.set()
        self.asked_again = trio.Event()
        reply = self.dealer.handle(request, trio.current_time())
        if not isinstance(reply, Deal):
            return reply, b""
        while not self.sends_after():
            await self.asked_again.wait()
        partly = bitset_of(request.partly, len(self.release.spans)) if request.partly else 0
        pieces = [dealt.piece for dealt in reply.pieces if not partly >> dealt.piece & 1]
        return reply, self._send(b"".join(self.release.piece(piece) for piece in pieces))

    async def fill(self, request: GapRequest) -> tuple[GapReply, bytes]:
        await trio.sleep(0.001)
        self.filled.append(request)
        assert all(
            self.dealer.take_gaps(request.host, piece)
            for piece in {gap.piece for gap in request.gaps}
        )
        return GapReply(), self._send(
            b"".join(self.release.piece(gap.piece)[gap.start : gap.end] for gap in request.gaps)
        )

    def _send(self, data: bytes) -> bytes:
        if self.corrupt_left:
            self.corrupt_left -= 1
            data = bytes(len(data))
        self.sent_bytes += len(data)
        return data


class MeshUnderTest:
    """One group: everybody who is named is a neighbour."""

    def __init__(self, others: list[HostUnderTest], known: dict[HostName, HostUnderTest]) -> None:
        self.others, self.known = others, known

    def neighbours(self) -> list[Neighbour]:
        return [other.neighbour for other in self.others]

    def farther(self) -> list[Neighbour]:
        return []

    def has_trunk(self) -> bool:
        return False

    def trunk(self) -> list[Neighbour]:
        return []

    def stripes(self) -> int:
        return ALL_STRIPES

    def locate(self, host: HostName) -> Neighbour | None:
        return self.known[host].neighbour if host in self.known else None


class HostUnderTest:
    """One host: its address, its folder, and the fetch with everybody as neighbour."""

    def __init__(self, name: str, address: str, root: Path) -> None:
        self.name = HostName(name)
        self.root = root
        self.session = Session(address, 0, swarm_identity(host=name))
        root.mkdir(parents=True, exist_ok=True)

    @property
    def neighbour(self) -> Neighbour:
        return Neighbour(self.name, self.session.address, self.session.port)

    async def add(
        self,
        release: Release,
        have: list[bool] | None = None,
        gaps: dict[int, tuple[tuple[int, int], ...]] | None = None,
    ) -> Torrent:
        for path in release.paths(self.root).values():
            path.parent.mkdir(parents=True, exist_ok=True)
        return await self.session.add(
            release.torrent, release.paths(self.root), have or [False] * len(release.spans), gaps
        )

    def read_piece(self, release: Release, number: int) -> bytes:
        """What lies of a piece, holes as zeros."""
        span = release.spans[number]
        with list(release.paths(self.root).values())[::-1][span.blob_index].open("rb") as file:
            file.seek(span.offset_bytes)
            return file.read(span.size_bytes).ljust(span.size_bytes, b"\0")

    async def fetch(
        self,
        torrent: Torrent,
        origin: Origin,
        others: list[HostUnderTest],
        everybody: list[HostUnderTest] | None = None,
        config: FetchConfig | None = None,
        members: Members | None = None,
        gaps: dict[int, tuple[tuple[int, int], ...]] | None = None,
        pace: DealPace | None = None,
        mesh: Mesh | None = None,
        open_trunk: OpenTrunk | None = None,
    ) -> FetchReport:
        known = {other.name: other for other in everybody or others}
        return await fetch_release(
            torrent,
            origin,
            key=ReleaseKey(
                cell=CellId("lab.web.c0"), manifest_digest=origin.release.digest, host=self.name
            ),
            mesh=mesh or MeshUnderTest(others, known),
            open_trunk=open_trunk,
            verify_piece=origin.release.verify,
            members=lambda: members or {},
            jitter=random.Random(self.name),
            partly=PartlyHere(gaps or {}, partial(self.read_piece, origin.release)),
            pace=pace,
            config=config,
        )


class Lab:
    """Hands out releases, origins and hosts; every host has an address of its own."""

    Origin = Origin
    Release = Release
    authority = SWARM_CA
    swarm_identity = staticmethod(swarm_identity)

    def __init__(self, root: Path) -> None:
        self.root = root
        self._numbers = itertools.count(1)
        self._net = f"127.77.{os.getpid() % 250 + 1}"
        self.addresses = frozenset(f"{self._net}.{number}" for number in range(1, HOSTS_MAX + 1))

    def address(self) -> str:
        """A member's address that nobody has yet."""
        number = next(self._numbers)
        assert number <= HOSTS_MAX
        return f"{self._net}.{number}"

    def host(self, members: frozenset[str] | None = None) -> HostUnderTest:
        """A host that admits *members* when it starts, by default everybody in the lab."""
        address = self.address()
        name = f"h{int(address.rpartition('.')[2]):02}"
        host = HostUnderTest(name, address, self.root / name)
        host.session.admit(self.addresses if members is None else members)
        return host


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    return Lab(tmp_path)


@pytest.fixture
def small_release() -> Release:
    return Release({"a/y": 40_000, "a-b/x": 100_001, "z": 5})


@pytest.fixture(scope="session")
def eight_mib_release() -> Release:
    return Release({".p2pdeploy/pack-0000": 300_001, "data/big": 8 * 1024 * 1024 - 70_000})
