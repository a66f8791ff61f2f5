"""What may run: release metadata, manifests and chunk indexes."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path

import msgspec

from p2pdeploy.errors import P2PDeployError, TrustError
from p2pdeploy.ids import ServiceName
from p2pdeploy.manifest import Manifest, digest_of
from p2pdeploy.payload.build import Built, build
from p2pdeploy.payload.check import check_chunk_index, check_manifest
from p2pdeploy.trust.releases.bundle import ReleaseBundle
from p2pdeploy.trust.releases.documents import Document, parse_document, parse_payload
from p2pdeploy.trust.releases.library import Root, Snapshot, Targets, Timestamp
from p2pdeploy.trust.releases.proposals import Proposal, propose_targets
from p2pdeploy.trust.releases.seen import Seen
from p2pdeploy.trust.releases.verify import first_seen, verify_order_keys, verify_release
from tests.fuzz.decoder import Decoder
from tests.p2pdeploy.payload.conftest import SERVICE_TOML
from tests.p2pdeploy.trust.release_fleet import NOON, ORDER_KEYS, Fleet, release


def _published() -> Fleet:
    fleet = Fleet()
    fleet.publish(release("web", "1.0"))
    fleet.rotate_online(fleet.online)
    return fleet


_RELEASES = _published()
_SEEN = first_seen(_RELEASES.first_root)
_REPOSITORY = _RELEASES.repository
_BUNDLE = _RELEASES.bundle()
_PROPOSAL = propose_targets(None, order_keys=ORDER_KEYS, services={}, now=NOON)


def _built() -> Built:
    """A real payload: folders, a link, a pack of small files, a file in pieces of its own."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "bin").mkdir(mode=0o755)
        (root / "bin/run").symlink_to("../service.toml")
        files = {"service.toml": SERVICE_TOML.encode(), "empty": b"", "big": bytes(3_000_000)}
        for path, content in files.items():
            (root / path).write_bytes(content)
            (root / path).chmod(0o644)
        return build(root, ServiceName("hello"))


_BUILT = _built()


def read_chunk_index(data: bytes) -> None:
    """One whose digest is right, as a publisher may sign any."""
    manifest = msgspec.structs.replace(
        _BUILT.manifest, chunk_index=digest_of(data), chunk_index_bytes=len(data)
    )
    check_chunk_index(manifest, data)


def read_seen(data: bytes) -> None:
    """Its time is used with whatever is verified next."""
    seen = Seen.from_bytes(data)
    assert seen.time_floor
    seen.version_of("timestamp", ("a",))


def tuf_document(kind: type[Document], *honest: bytes) -> Decoder:
    """One kind of TUF metadata, signatures not judged."""

    def read(data: bytes) -> None:
        parse_document(data, kind, where="here")

    return Decoder(
        name=f"tuf {kind.type}", read=read, form="json", honest=honest, refuses=(TrustError,)
    )


def verify(data: bytes) -> None:
    """As a host does, for a release and for the keys of orders alone."""
    at = NOON + dt.timedelta(hours=1)
    verify_order_keys(data, _SEEN, now=at)
    verify_release(data, _SEEN, service="web", version="1.0", now=at)


RELEASE_DECODERS = (
    Decoder(
        name="ReleaseBundle",
        read=ReleaseBundle.from_bytes,
        honest=(_BUNDLE,),
        refuses=(TrustError,),
    ),
    Decoder(name="verify_release", read=verify, honest=(_BUNDLE,), refuses=(TrustError,)),
    Decoder(name="Proposal", read=Proposal.from_bytes, honest=(_PROPOSAL.to_bytes(),)),
    Decoder(name="Seen", read=read_seen, honest=(_SEEN.to_bytes(),), refuses=(TrustError,)),
    tuf_document(Root, *_REPOSITORY.roots),
    tuf_document(Timestamp, _REPOSITORY.timestamp),
    tuf_document(Snapshot, _REPOSITORY.snapshot),
    tuf_document(Targets, _REPOSITORY.targets, _REPOSITORY.services["web"]),
    Decoder(
        name="tuf payload",
        read=lambda data: parse_payload(data, Targets, where="here"),
        form="json",
        honest=(_PROPOSAL.payload,),
        refuses=(TrustError,),
    ),
    Decoder(
        name="Manifest",
        read=lambda data: check_manifest(Manifest.from_bytes(data)),
        honest=(_BUILT.manifest_bytes,),
        refuses=(P2PDeployError,),
    ),
    Decoder(
        name="ChunkIndex",
        read=read_chunk_index,
        honest=(_BUILT.chunk_index_bytes,),
        refuses=(P2PDeployError,),
    ),
)
