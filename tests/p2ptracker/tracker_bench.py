"""A real control plane on loopback, and the publisher's side of it: begin, upload, commit, sign."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import msgspec
import trio

from p2pdeploy.codec import FrameReader, decode, encode, frame
from p2pdeploy.ids import CellId
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.api import ErrorDocument, PublishBegun
from p2pdeploy.messages.signing import ProposalView, SignatureRequest
from p2pdeploy.messages.upload import (
    CHUNK_HEADER,
    END_OF_CHUNKS,
    CommitRequest,
    PublishRequest,
    ServerWord,
    UploadAck,
    UploadHello,
    UploadRefused,
)
from p2pdeploy.payload.build import Built
from p2pdeploy.trust.releases.proposals import Proposal, sign
from p2pdeploy.trust.signing import SigningKey
from p2pdeploy.trust.streams import SecureStream, open_stream
from p2pdeploy.trust.tls import IdentityFiles, client_context, is_control_plane
from p2ptracker.control_plane import ControlPlane, open_control_plane
from p2ptracker.registry.chunk_map import ChunkMap
from p2ptracker.run import Ports, run_tasks
from tests.trust_folder import host_files

__all__ = ["CELL", "Client", "Tracker", "code_of", "open_http", "run_tracker", "words_of"]

CELL = CellId("lab.web.c0")


class Client:
    """The publisher's side of a control plane, in this process or another."""

    def __init__(self, identity: IdentityFiles, http: httpx2.AsyncClient) -> None:
        self.identity = identity
        self.http = http

    async def begin(self, version: str, built: Built, service: str = "hello") -> httpx2.Response:
        request = PublishRequest(manifest=built.manifest_bytes, chunk_index=built.chunk_index_bytes)
        return await self.http.post(
            f"/v1/releases/{service}/{version}",
            content=encode(request),
            headers={"Content-Type": "application/msgpack"},
        )

    async def begun(self, version: str, built: Built) -> PublishBegun:
        answer = await self.begin(version, built)
        assert answer.status_code == 200, answer.text
        return msgspec.json.decode(answer.content, type=PublishBegun)

    async def commit(self, version: str, built: Built, service: str = "hello") -> httpx2.Response:
        return await self.http.post(
            f"/v1/releases/{service}/{version}/commit",
            content=encode(CommitRequest(manifest_digest=built.manifest_digest)),
        )

    async def connect(
        self, begun: PublishBegun, identity: IdentityFiles | None = None
    ) -> SecureStream:
        host, _, port = begun.upload_address.rpartition(":")
        context = client_context(identity or self.identity, is_control_plane, who="the tracker")
        stream = await open_stream(host, int(port), context)
        hello = UploadHello(upload_key=begun.upload_key)
        await stream.send_all(frame(encode(hello)))
        return stream

    async def upload(self, begun: PublishBegun, built: Built) -> UploadAck:
        """Send everything that is missing; return the last ack."""
        stream = await self.connect(begun)
        async with stream:
            for number in numbers_of(begun):
                await stream.send_all(chunk_message(built, number))
            await stream.send_all(CHUNK_HEADER.pack(END_OF_CHUNKS, 0))
            words = await words_of(stream)
        assert isinstance(words[-1], UploadAck), words
        return words[-1]

    def chunk(self, built: Built, number: int, *, spoil: bool = False) -> bytes:
        return chunk_message(built, number, spoil=spoil)

    def numbers(self, begun: PublishBegun) -> list[int]:
        return numbers_of(begun)

    async def refusal(self, stream: trio.abc.Stream) -> str:
        """The code of the server's last word, which must be a refusal."""
        words = await words_of(stream)
        assert words
        assert isinstance(words[-1], UploadRefused), words
        return words[-1].error.code

    async def commit_all(self, version: str, built: Built) -> httpx2.Response:
        """Publish without a signature."""
        begun = await self.begun(version, built)
        if begun.state == "uploading":
            await self.upload(begun, built)
        return await self.commit(version, built)

    async def publish(self, version: str, built: Built) -> httpx2.Response:
        """Publish and sign; the answer is the commit's."""
        answer = await self.commit_all(version, built)
        if answer.status_code == 200:
            view = await self.signed(version)
            assert view.state == "signed", view
        return answer

    async def proposed(self, version: str, service: str = "hello") -> ProposalView:
        answer = await self.http.post(f"/v1/releases/{service}/{version}/proposal")
        assert answer.status_code == 200, answer.text
        return msgspec.json.decode(answer.content, type=ProposalView)

    async def sign(
        self,
        version: str,
        proposed: ProposalView,
        key: SigningKey | None = None,
        service: str = "hello",
    ) -> httpx2.Response:
        proposal = Proposal.from_bytes(proposed.proposal)
        key_id, signature = sign(proposal, key or self.publisher_key())
        request = SignatureRequest(
            key_id=key_id, signature=signature, payload_digest=digest_of(proposal.payload)
        )
        path = f"/v1/releases/{service}/{version}/signature"
        return await self.http.post(
            path,
            content=msgspec.json.encode(request),
            headers={"Content-Type": "application/json"},
        )

    async def signed(self, version: str, service: str = "hello") -> ProposalView:
        """Propose and sign as the fleet's publisher."""
        proposed = await self.proposed(version, service)
        if proposed.state == "signed":
            return proposed
        answer = await self.sign(version, proposed, service=service)
        assert answer.status_code == 200, answer.text
        return msgspec.json.decode(answer.content, type=ProposalView)

    def publisher_key(self) -> SigningKey:
        """The key that ``init`` made."""
        path = self.identity.certificate.parent / "publisher.key"
        return SigningKey.from_pem(path.read_bytes(), role="publisher")


class Tracker(Client):
    """A control plane that runs in this process."""

    def __init__(
        self, folder: Path, plane: ControlPlane, ports: Ports, http: httpx2.AsyncClient
    ) -> None:
        super().__init__(plane.trust.paths.operator_files(), http)
        self.folder = folder
        self.plane = plane
        self.ports = ports
        self._as_host: dict[str, httpx2.AsyncClient] = {}

    def as_host(self, name: str) -> httpx2.AsyncClient:
        """A client with the certificate of a host of the inventory; closed with the tracker."""
        if name not in self._as_host:
            host = next(host for host in self.plane.inventory if host.name == name)
            self._as_host[name] = open_http(host_files(self.folder, host), self.ports.api)
        return self._as_host[name]

    async def close(self) -> None:
        for http in self._as_host.values():
            await http.aclose()


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    """The status, and the code of the error; empty when there is none."""
    if answer.is_success:
        return answer.status_code, ""
    return answer.status_code, msgspec.json.decode(answer.content, type=ErrorDocument).error.code


def numbers_of(begun: PublishBegun) -> list[int]:
    return [n for first, count in begun.missing for n in range(first, first + count)]


def chunk_message(built: Built, number: int, *, spoil: bool = False) -> bytes:
    chunk = ChunkMap(built.chunk_index)[number]
    data = built.sources.pread(chunk.blob_index, chunk.offset_bytes, chunk.size_bytes)
    if spoil:
        data = bytes([data[0] ^ 1]) + data[1:]
    return CHUNK_HEADER.pack(number, len(data)) + data


async def words_of(stream: trio.abc.ReceiveStream) -> list[ServerWord]:
    """Everything the server says until it closes, or refuses and waits for us to."""
    reader = FrameReader()
    words: list[ServerWord] = []
    with trio.fail_after(10):
        while data := await stream.receive_some(65536):
            reader.feed(data)
            words += [decode(payload, ServerWord, bytes_max=4096) for payload in reader]
            if words and isinstance(words[-1], UploadRefused):
                break
    return words


def open_http(identity: IdentityFiles, port: int) -> httpx2.AsyncClient:
    context = client_context(identity, is_control_plane, who="the control plane")
    return httpx2.AsyncClient(
        base_url=f"https://127.0.0.1:{port}", verify=context, trust_env=False, timeout=30
    )


@asynccontextmanager
async def run_tracker(folder: Path) -> AsyncGenerator[Tracker]:
    async with open_control_plane(folder) as plane, trio.open_nursery() as nursery:
        ports = await nursery.start(run_tasks, plane)
        async with open_http(plane.trust.paths.operator_files(), ports.api) as http:
            tracker = Tracker(folder, plane, ports, http)
            try:
                yield tracker
            finally:
                await tracker.close()
        nursery.cancel_scope.cancel()
