"""What says who somebody is: envelopes, certificates, keys, names."""

from __future__ import annotations

import ssl

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from p2pctl.approving import read_proposal
from p2pdeploy.codec import encode
from p2pdeploy.errors import ProtocolError, TrustError
from p2pdeploy.ids import CellId, FaultDomain, HostName, RolloutId
from p2pdeploy.messages.approval import RolloutProposal
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Target
from p2pdeploy.testing.fleet_keys import FleetKeys
from p2pdeploy.testing.orders import a_go, a_plan, a_word, orders_of, rollout_of
from p2pdeploy.trust.certificates import (
    HOST_LIFETIME,
    Authority,
    issue_leaf,
    key_from_pem,
    key_to_pem,
)
from p2pdeploy.trust.credential import Credential
from p2pdeploy.trust.identity import HostId, OperatorId, identity_of, spiffe_id
from p2pdeploy.trust.join_token import JoinToken, read_join_token, show_join_token
from p2pdeploy.trust.keyring import ORDER_ROLES
from p2pdeploy.trust.operator_certificate import is_issued_by, operator_certificate
from p2pdeploy.trust.signing import SigningKey
from tests.fuzz.decoder import Decoder
from tests.p2pdeploy.trust.release_fleet import NOON

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


def _operators(name: str, *roles: str) -> bytes:
    """A certificate in DER, the same in every run."""
    names = [x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]
    names += [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, role) for role in roles]
    uri = x509.UniformResourceIdentifier(spiffe_id(OperatorId("lab", name)))
    builder = x509.CertificateBuilder(
        _NAME, x509.Name(names), _KEY.public_key(), 6, NOON, NOON + HOST_LIFETIME
    ).add_extension(x509.SubjectAlternativeName([uri]), critical=False)
    made = builder.sign(_KEY, hashes.SHA256(), ecdsa_deterministic=True)
    return made.public_bytes(serialization.Encoding.DER)


def read_operator(der: bytes) -> None:
    """As ``p2pctl auth accept`` does with what came by mail."""
    pem = ssl.DER_cert_to_PEM_cert(der).encode()
    operator_certificate(pem)
    is_issued_by(pem, _AUTHORITY.pem)
    is_issued_by(_AUTHORITY.pem, pem)


def read_rollout(payload: bytes) -> None:
    """As ``p2pctl rollout sign`` does with what it is asked to sign."""
    proposal = RolloutProposal(rollout=_WEB_1, payloads=[payload], signed_by=[], threshold=2)
    read_proposal(proposal, _WEB_1, NOON)


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


_WEB_1 = RolloutId("web-1")
_NAMED = Target(hosts=(HostName("h1"), HostName("h2")))
_ROLLOUT = msgspec.structs.replace(
    rollout_of(a_plan(now=NOON.timestamp()), failure_fraction_max=0.1), rollout_id=_WEB_1
)

TRUST_DECODERS = (
    Decoder(
        name="rollout-proposal",
        read=read_rollout,
        honest=(
            encode(_ROLLOUT),
            encode(msgspec.structs.replace(_ROLLOUT, target=_NAMED, bare=_NAMED.hosts)),
        ),
        refuses=(TrustError,),
    ),
    Decoder(name="open_envelope", read=FLEET.open, honest=ENVELOPES, refuses=_ENVELOPE_REFUSALS),
    Decoder(
        name="certificate-request",
        read=issue,
        form="binary",
        honest=(_request(x509.Name([])), _request(_NAME)),
        refuses=(TrustError,),
    ),
    Decoder(
        name="operator-certificate",
        read=read_operator,
        form="binary",
        honest=(_operators("ann", "viewer", "admin"), _operators("b" * 63)),
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
)
