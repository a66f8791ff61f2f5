from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pctl.uploading import Chunk, chunks_of, repeated_bytes, select, send_chunks
from p2pdeploy.codec import encode, frame
from p2pdeploy.errors import P2PDeployError, ProtocolError, TrustError, UnavailableError
from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.manifest import BlobChunks, ChunkIndex
from p2pdeploy.messages.upload import UploadAccepted
from p2pdeploy.topology import Host
from p2pdeploy.trust.tls import IdentityFiles, server_context
from p2ptracker.authority.create import create_trust
from tests.trust_folder import add_trust, control_plane_files, host_files, operator_files

INDEX = ChunkIndex(
    blobs=(
        BlobChunks(digests=b"a" * 64, sizes_bytes=(10, 20)),
        BlobChunks(digests=b"", sizes_bytes=()),
        BlobChunks(digests=b"c" * 96, sizes_bytes=(1, 2, 3)),
    )
)


def test_chunks_are_numbered_over_all_blobs_with_offsets_in_their_own() -> None:
    assert chunks_of(INDEX) == [
        Chunk(0, 0, 0, 10),
        Chunk(1, 0, 10, 20),
        Chunk(2, 2, 0, 1),
        Chunk(3, 2, 1, 2),
        Chunk(4, 2, 3, 3),
    ]


def test_runs_select_chunks_by_number() -> None:
    found = select(chunks_of(INDEX), [(0, 1), (3, 2)])
    assert [chunk.number for chunk in found] == [0, 3, 4]


def test_what_stands_in_a_payload_more_than_once_is_counted_once_less() -> None:
    assert repeated_bytes(INDEX) == 20 + 2 + 3


@pytest.mark.parametrize("run", [(4, 2), (-1, 2), (0, -1), (9, 1)])
def test_a_registry_that_asks_for_chunks_there_are_not_is_refused(run: tuple[int, int]) -> None:
    with pytest.raises(ProtocolError):
        select(chunks_of(INDEX), [run])


class Payload:
    """A source that counts what was read of it."""

    def __init__(self) -> None:
        self.read_bytes = 0

    def pread(self, blob_index: int, offset: int, size: int) -> bytes:
        self.read_bytes += size
        return bytes(size)


@contextmanager
def registry(
    files: IdentityFiles, serve: Callable[[ssl.SSLSocket], object]
) -> Iterator[tuple[str, list[Exception]]]:
    """Something that listens with the identity *files* and serves one connection."""
    faults: list[Exception] = []
    context = server_context(files, demands_certificate=True)

    def accept() -> None:
        try:
            plain, _ = listener.accept()
            with plain, context.wrap_socket(plain, server_side=True) as stream:
                serve(stream)
        except OSError as error:
            faults.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", faults
        thread.join(timeout=10)
        assert not thread.is_alive()


def a_host() -> Host:
    return Host(
        name=HostName("h1"),
        address="127.88.1.9",
        environment="lab",
        machine_function="web",
        cell=CellId("lab.web.c0"),
        fault_domain=FaultDomain("fd0"),
        gossip_port=7946,
        swarm_port=6881,
        host_port=7947,
    )


def upload(address: str, identity: IdentityFiles, source: Payload) -> P2PDeployError:
    with pytest.raises(P2PDeployError) as caught:
        send_chunks(
            address, "key", identity, chunks_of(INDEX), source, on_durable=lambda done: None
        )
    return caught.value


def test_a_host_that_listens_as_the_registry_gets_no_key_and_no_payload(tmp_path: Path) -> None:
    add_trust(tmp_path)
    heard: list[bytes] = []
    source = Payload()
    with registry(host_files(tmp_path, a_host()), lambda s: heard.append(s.recv(100))) as (
        where,
        _,
    ):
        error = upload(where, operator_files(tmp_path, "ann", "publisher:*"), source)
    assert isinstance(error, TrustError)
    assert "not the control plane" in str(error)
    assert (b"".join(heard), source.read_bytes) == (b"", 0)


def test_a_registry_of_another_fleet_gets_no_key_and_no_payload(tmp_path: Path) -> None:
    add_trust(tmp_path / "ours")
    foreign = tmp_path / "foreign"
    create_trust(foreign, "lab", now=dt.datetime.now(dt.UTC))
    heard: list[bytes] = []
    source = Payload()
    with registry(control_plane_files(foreign), lambda s: heard.append(s.recv(100))) as (where, _):
        error = upload(where, operator_files(tmp_path / "ours", "ann", "publisher:*"), source)
    assert isinstance(error, TrustError)
    assert (heard, source.read_bytes) == ([], 0)


def test_a_registry_that_dies_in_the_middle_is_an_outage(tmp_path: Path) -> None:
    add_trust(tmp_path)

    def die(stream: ssl.SSLSocket) -> None:
        stream.recv(100)
        stream.sendall(frame(encode(UploadAccepted())))

    with registry(control_plane_files(tmp_path), die) as (where, _):
        error = upload(where, operator_files(tmp_path, "ann", "publisher:*"), Payload())
    assert isinstance(error, UnavailableError)
    assert error.code == "upload-broken"
