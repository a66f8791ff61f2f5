"""Verifier, dealer, tracker and registry: what is refused changes nothing in them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from random import Random

import blake3
import msgspec
import pytest

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import P2PDeployError, ProtocolError, UnavailableError
from p2pdeploy.ids import CellId, Digest, HostName, ServiceName
from p2pdeploy.manifest import Blob, BlobChunks, ChunkIndex, Manifest, digest_of
from p2pdeploy.messages.deal import DEAL_REQUEST_BYTES_MAX, DealRequest, bitmap_of
from p2pdeploy.messages.upload import CHUNK_HEADER
from p2pdeploy.swarm.deal import Dealer
from p2pdeploy.swarm.deal_terms import DealConfig
from p2ptracker.announce.replies import announce_reply
from p2ptracker.announce.requests import parse_announce
from p2ptracker.announce.swarms import Swarms, SwarmsConfig
from p2ptracker.registry.chunk_map import Chunk
from p2ptracker.registry.reception import _cut as cut_chunks
from p2ptracker.registry.spool import Spool
from tests.fuzz.mutations import mutated
from tests.fuzz.running import DECODERS, input_of
from tests.fuzz.trust_decoders import fixed_fleet

COUNTS = [1_500, pytest.param(50_000, marks=pytest.mark.soak)]
counted = pytest.mark.parametrize("count", COUNTS, ids=["sample", "soak"])


@counted
def test_forged_credentials_are_not_remembered(count: int) -> None:
    fleet, decoder = fixed_fleet(), DECODERS["open_envelope"]
    for seed in range(count):
        before = set(fleet.verifier._credentials)
        try:
            fleet.open(input_of(decoder, seed))
        except P2PDeployError:
            # A true one may be learned from a word that is refused; this raises for a false one.
            for learned in fleet.verifier._credentials.keys() - before:
                fleet.open(learned)


@counted
def test_refused_deal_requests_leave_the_dealer_as_it_was(count: int) -> None:
    pieces = 40
    dealer = Dealer([65_536] * pieces, DealConfig(settle_s=0.0))
    honest = DealRequest(
        cell=CellId("lab.web.c0"),
        manifest_digest=Digest("00" * 32),
        host=HostName("h1"),
        have=bitmap_of([piece % 3 == 0 for piece in range(pieces)]),
        missing=(1, 4),
        dropped=(2,),
    )
    full = msgspec.structs.replace(
        honest, host=HostName("h2"), have=bitmap_of([True] * pieces), completed=True
    )
    samples, refused = (encode(honest), encode(full)), 0
    for seed in range(count):
        rng = Random(f"deals/{seed}")
        before = pickle.dumps(dealer)
        try:
            data = mutated(samples, "msgpack", rng)
            dealer.handle(decode(data, DealRequest, bytes_max=DEAL_REQUEST_BYTES_MAX), seed / 10)
        except (ProtocolError, UnavailableError):
            refused += 1
            assert pickle.dumps(dealer) == before, f"seed {seed}"
    assert refused > count / 5


@counted
def test_any_announce_leaves_the_tables_within_their_bounds(count: int) -> None:
    config = SwarmsConfig(swarms_max=8, peers_max=5)
    swarms, decoder, accepted = Swarms(config, Random(1)), DECODERS["parse_announce"], 0
    for seed in range(count):
        try:
            request = parse_announce(input_of(decoder, seed))
        except ProtocolError:
            continue
        accepted += 1
        address = f"127.0.0.{seed % 100}"
        answer = swarms.announce(request, address, float(seed) / 100)
        assert len(announce_reply(request, answer, config)) < 2_048
        assert swarms.peer_count <= config.swarms_max * config.peers_max
    assert accepted > count / 20


CHUNKS = tuple(Random(size).randbytes(size) for size in (20, 61, 1, 200, 90))


def a_release() -> tuple[bytes, bytes]:
    """Manifest and chunk index of one blob in five small chunks."""
    digests = b"".join(blake3.blake3(chunk).digest() for chunk in CHUNKS)
    index = ChunkIndex((BlobChunks(digests, tuple(map(len, CHUNKS))),)).to_bytes()
    content = b"".join(CHUNKS)
    manifest = Manifest(
        service=ServiceName("web"),
        piece_size_bytes=65_536,
        entries=(),
        blobs=(
            Blob(
                path="a",
                size_bytes=len(content),
                digest=digest_of(content),
                pieces_root=bytes(32),
            ),
        ),
        chunk_index=digest_of(index),
        chunk_index_bytes=len(index),
    )
    return manifest.to_bytes(), index


def bytes_of(spool: Spool, chunk: Chunk) -> bytes:
    descriptor = spool.open_blob(chunk.blob_index)
    try:
        return os.pread(descriptor, chunk.size_bytes, chunk.offset_bytes)
    finally:
        os.close(descriptor)


@counted
def test_no_chunk_counts_as_arrived_before_its_bytes_are_right(count: int, tmp_path: Path) -> None:
    spool, refused = Spool(tmp_path / "spool", *a_release()), 0
    said = (CHUNK_HEADER.pack(number, len(chunk)) + chunk for number, chunk in enumerate(CHUNKS))
    honest = b"".join(said)
    for seed in range(count):
        data = mutated((honest,), "binary", Random(f"chunks/{seed}"))
        try:
            spool.write(cut_chunks(memoryview(data))[0])
        except P2PDeployError:
            refused += 1
        for chunk in spool.chunks:
            if spool.has(chunk.number):
                assert bytes_of(spool, chunk) == CHUNKS[chunk.number], f"seed {seed}"
        if seed % 5 == 0:
            spool.forget(range(len(spool.chunks)))
    spool.close()
    assert refused > count / 10
