"""What says who somebody is, or what may run: envelopes, certificates, keys, names, releases."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from p2pdeploy.errors import P2PDeployError, ProtocolError, TrustError
from p2pdeploy.ids import CellId, FaultDomain, HostName, ServiceName
from p2pdeploy.manifest import ChunkIndex, Manifest, digest_of
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.payload.build import Built, build
from p2pdeploy.payload.check import check_chunk_index, check_manifest
from p2pdeploy.testing.fleet_keys import FleetKeys
from p2pdeploy.testing.orders import a_go, a_plan, a_word, orders_of
from p2pdeploy.trust.certificates import (
    HOST_LIFETIME,
    Authority,
    issue_leaf,
    key_from_pem,
    key_to_pem,
)
from p2pdeploy.trust.credential import Credential
from p2pdeploy.trust.envelope import cosign
from p2pdeploy.trust.identity import HostId, identity_of, spiffe_id
from p2pdeploy.trust.join_token import JoinToken, read_join_token, show_join_token
from p2pdeploy.trust.keyring import ORDER_ROLES
from p2pdeploy.trust.releases.bundle import ReleaseBundle
from p2pdeploy.trust.releases.documents import Document, parse_document, parse_payload
from p2pdeploy.trust.releases.library import Root, Snapshot, Targets, Timestamp
from p2pdeploy.trust.releases.proposals import Proposal, propose_targets
from p2pdeploy.trust.releases.seen import Seen
from p2pdeploy.trust.releases.verify import first_seen, verify_order_keys, verify_release
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.registry.chunk_map import ChunkMap
from tests.fuzz.decoder import Decoder
from tests.p2pdeploy.payload.conftest import SERVICE_TOML
from tests.p2pdeploy.trust.release_fleet import NOON, ORDER_KEYS, Fleet, release

_ENVELOPE_REFUSALS = (ProtocolError, TrustError)

# --- envelopes and credentials ------------------------------------------------------------------


def fixed_fleet() -> FleetKeys:
    """The same keys in every run, so that a seed gives the same bytes."""
    seeds = {role: bytes([number]) * 32 for number, role in enumerate(ORDER_ROLES)}
    keys = FleetKeys("lab", {role: SigningKey(seed, role=role) for role, seed in seeds.items()})
    keys._hosts[HostName("h1")] = SigningKey(b"h" * 32, key_id="host/h1")
    return keys


FLEET = fixed_fleet()
_CREDENTIAL = Credential(
    fleet="lab",
    cell=CellId("lab.web.c0"),
    host=HostName("h1"),
    fault_domain=FaultDomain("fd0"),
    enrolment=1,
    public_key=FLEET.host(HostName("h1")).public_key,
)
ENVELOPES = tuple(
    FLEET.seal(message)
    for message in (*orders_of(a_plan()), a_go(), a_word("h1", 4, Rank.HEALTHY), _CREDENTIAL)
)

# --- certificates and keys ----------------------------------------------------------------------

_KEY = ec.derive_private_key(2**200 + 7, ec.SECP256R1())
_NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab fleet CA")])


def _fixed_authority() -> Authority:
    builder = x509.CertificateBuilder(
        _NAME, _NAME, _KEY.public_key(), 5, NOON, NOON + HOST_LIFETIME
    )
    return Authority(_KEY, builder.sign(_KEY, hashes.SHA256(), ecdsa_deterministic=True))


def _request(name: x509.Name) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    request = builder.sign(_KEY, hashes.SHA256(), ecdsa_deterministic=True)
    return request.public_bytes(serialization.Encoding.DER)


_AUTHORITY = _fixed_authority()
_HOST = HostId("lab", "lab", "web", HostName("h1"))
_ED25519_PEM = SigningKey(b"e" * 32, role="go").to_pem()
_TOKEN = JoinToken(
    host=HostName("h1"), api="https://127.0.0.1:7400", fingerprint=b"f" * 32, secret=b"s" * 32
)


def issue(request: bytes) -> None:
    """As the control plane does with what a host sends."""
    issue_leaf(
        _AUTHORITY, request, _HOST, addresses=["127.0.0.1"], lifetime=HOST_LIFETIME, now=NOON
    )


# --- releases -----------------------------------------------------------------------------------


def _published() -> Fleet:
    fleet = Fleet()
    fleet.publish(release("web", "1.0"))
    fleet.rotate_online(fleet.online)
    return fleet


_RELEASES = _published()
_SEEN = first_seen(_RELEASES.first_root)
_REPOSITORY = _RELEASES.repository
_BUNDLES = (_RELEASES.bundle(), _RELEASES.bundle("bank") if "bank" in _REPOSITORY.services else b"")
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


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


TRUST_DECODERS = (
    Decoder(name="open_envelope", read=FLEET.open, honest=ENVELOPES, refuses=_ENVELOPE_REFUSALS),
    Decoder(
        name="cosign",
        read=lambda data: cosign(data, FLEET.roles["go"]),
        honest=ENVELOPES,
    ),
    Decoder(
        name="certificate-request",
        read=issue,
        form="binary",
        honest=(_request(x509.Name([])), _request(_NAME)),
        refuses=(TrustError,),
    ),
    Decoder(
        name="key_from_pem",
        read=key_from_pem,
        form="text",
        honest=(key_to_pem(_KEY), _ED25519_PEM),
        refuses=(TrustError,),
    ),
    Decoder(
        name="SigningKey.from_pem",
        read=SigningKey.from_pem,
        form="text",
        honest=(_ED25519_PEM, key_to_pem(_KEY)),
        refuses=(TrustError,),
    ),
    Decoder(
        name="spiffe-id",
        read=lambda data: identity_of(_text(data)),
        form="text",
        honest=(spiffe_id(_HOST).encode(), b"spiffe://lab/operator/ann", b"spiffe://l/a"),
        refuses=(TrustError,),
    ),
    Decoder(
        name="join-token",
        read=lambda data: read_join_token(_text(data)),
        form="text",
        honest=(show_join_token(_TOKEN).encode(),),
        refuses=(TrustError,),
    ),
    Decoder(
        name="ReleaseBundle",
        read=ReleaseBundle.from_bytes,
        honest=_BUNDLES[:1],
        refuses=(TrustError,),
    ),
    Decoder(name="verify_release", read=verify, honest=_BUNDLES[:1], refuses=(TrustError,)),
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
        read=lambda data: ChunkMap(_BUILT.manifest, ChunkIndex.from_bytes(data)),
        honest=(_BUILT.chunk_index_bytes,),
    ),
    Decoder(
        name="check_chunk_index",
        read=read_chunk_index,
        honest=(_BUILT.chunk_index_bytes,),
        refuses=(P2PDeployError,),
    ),
)
