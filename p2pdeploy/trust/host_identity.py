"""A host's identity on disk: ``identity/`` in its state, readable by the daemon's user alone.

::

    attestation.key   Ed25519, made when the host joins; signs what it says and each renewal
    credential        the control plane's word on that key
    leaf.pem          key and certificate for every connection; renewed at half of its life
    validity          Validity: from when to when both certificates hold
    swarm.pem         key and certificate for the swarm; renewed with it
    bundle            TrustBundle: the fleet's authorities, and the root of releases
    order-keys        KnownOrders: who signs orders; judged on this host
    cell-keys         CellKeys: the keys of the cell's gossip
    fleet-ca.pem      the bundle's fleet CA, as TLS wants it
    revocations       the newest the daemon has heard, sealed

Every file is replaced whole, and any mixture of what one enrolment brought works: so a kill in the
middle of a renewal does no harm.  Joining anew brings another key: a kill in the middle of that can
leave a key beside the credential of another, which nobody believes; join once more.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import ConfigError, P2PDeployError
from p2pdeploy.messages.enrolment import IssuedIdentity
from p2pdeploy.trust.bundle import (
    BUNDLE_BYTES_MAX,
    KNOWN_ORDERS_BYTES_MAX,
    KnownOrders,
    TrustBundle,
)
from p2pdeploy.trust.cell_keys import CellKeys
from p2pdeploy.trust.credential import Credential
from p2pdeploy.trust.envelope import Envelope, Sealed
from p2pdeploy.trust.private_files import make_private_folder, read_private, write_private
from p2pdeploy.trust.signing import SigningKey
from p2pdeploy.trust.tls import IdentityFiles

__all__ = [
    "ORDER_KEYS_FILE",
    "HostIdentity",
    "Validity",
    "load_attestation_key",
    "load_identity",
    "load_known_orders",
    "load_revocations",
    "load_validity",
    "save_cell_keys",
    "save_identity",
    "save_known_orders",
    "save_revocations",
]

ORDER_KEYS_FILE = "order-keys"

_HINT = "this host has not joined a fleet: run 'p2pdaemon join TOKEN'"

_VALIDITY_BYTES_MAX = 64


class Validity(msgspec.Struct, frozen=True):
    """When the certificates were issued and expire, in seconds since the epoch."""

    issued_at: float
    expires_at: float


class HostIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon of one host presents and believes.

    ``key`` signs attestations and carries the sealed *credential*; ``swarm_pem`` holds key and
    certificate.
    """

    key: SigningKey
    credential: Credential
    files: IdentityFiles
    swarm_pem: bytes
    bundle: TrustBundle
    known_orders: KnownOrders
    cell_keys: CellKeys


def save_identity(
    folder: Path,
    key: SigningKey,
    leaf_key_pem: bytes,
    swarm_key_pem: bytes,
    issued: IssuedIdentity,
    known: KnownOrders,
) -> None:
    """Write everything; *key* first, so that no credential is ever without its key.

    Args:
        folder: The identity's; made when missing.
        key: The host's attestation key.
        leaf_key_pem: Of the certificate for connections.
        swarm_key_pem: Of the certificate for the swarm.
        issued: What the control plane answered.
        known: What this host found in ``issued.releases``; never the control plane's word on it.

    Raises:
        OSError: the disk is full or not ours.  After a renewal what was there still works; after
            joining anew it may be a mixture that nobody believes.
    """
    make_private_folder(folder)
    write_private(folder / "attestation.key", key.to_pem())
    write_private(folder / "credential", issued.credential)
    write_private(folder / "bundle", encode(issued.bundle))
    save_known_orders(folder, known)
    write_private(folder / "cell-keys", encode(issued.cell_keys))
    write_private(folder / "fleet-ca.pem", issued.bundle.fleet_ca_pem)
    write_private(folder / "swarm.pem", swarm_key_pem + issued.swarm_certificate_pem)
    write_private(folder / "leaf.pem", leaf_key_pem + issued.certificate_pem)
    # Last: a kill before it makes the next renewal early, and never late.
    validity = Validity(issued.issued_at, issued.expires_at)
    write_private(folder / "validity", encode(validity))


def load_validity(folder: Path) -> Validity | None:
    """When the certificates in *folder* expire; None when that is not known: renew them now."""
    try:
        data = read_private(folder / "validity", hint=_HINT)
        return decode(data, Validity, bytes_max=_VALIDITY_BYTES_MAX)
    except P2PDeployError:
        return None


def save_known_orders(folder: Path, known: KnownOrders) -> None:
    """Keep who signs orders, as this host has judged it; raises OSError."""
    write_private(folder / ORDER_KEYS_FILE, encode(known))


def load_known_orders(folder: Path) -> KnownOrders:
    """Who signs orders.  Raises ConfigError: missing or damaged."""
    path = folder / ORDER_KEYS_FILE
    data = read_private(path, hint=_HINT)
    try:
        return decode(data, KnownOrders, bytes_max=KNOWN_ORDERS_BYTES_MAX)
    except P2PDeployError as error:
        raise ConfigError(f"damaged: {error.message}", where=str(path), hint=_HINT) from error


def save_revocations(folder: Path, envelope: bytes) -> None:
    """Keep the newest, sealed, which was verified.

    Raises:
        OSError: the disk is full or not ours; what was there still works.
    """
    write_private(folder / "revocations", envelope)


def save_cell_keys(folder: Path, keys: CellKeys) -> None:
    """Keep the cell's ring.  Raises as :func:`save_revocations`."""
    write_private(folder / "cell-keys", encode(keys))


def load_revocations(folder: Path) -> bytes:
    """The newest that were kept, sealed; empty when there are none."""
    try:
        return read_private(folder / "revocations", hint=_HINT)
    except ConfigError:
        return b""


def load_attestation_key(folder: Path, host: str) -> SigningKey:
    """The key of *host* with its credential.  Raises ConfigError: it has not joined."""
    key = SigningKey.from_pem(
        read_private(folder / "attestation.key", hint=_HINT), key_id=f"host/{host}"
    )
    key.credential = read_private(folder / "credential", hint=_HINT)
    return key


def load_identity(folder: Path, host: str) -> HostIdentity:
    """Read the identity of *host*.

    Raises:
        ConfigError: the host has not joined, a file is damaged, or others can read it.
    """
    leaf = folder / "leaf.pem"
    read_private(leaf, hint=_HINT)
    try:
        bundle = decode(
            read_private(folder / "bundle", hint=_HINT), TrustBundle, bytes_max=BUNDLE_BYTES_MAX
        )
        cell_keys = decode(
            read_private(folder / "cell-keys", hint=_HINT), CellKeys, bytes_max=BUNDLE_BYTES_MAX
        )
        known = load_known_orders(folder)
        key = load_attestation_key(folder, host)
        credential = _credential_in(key.credential)
    except ConfigError:
        raise
    except P2PDeployError as error:
        raise ConfigError(f"damaged: {error.message}", where=str(folder), hint=_HINT) from error
    if not isinstance(credential, Credential) or credential.host != host:
        raise ConfigError(
            f"this identity is not of host {host!r}", where=str(folder), code="other-host"
        )
    files = IdentityFiles(certificate=leaf, key=leaf, authority=folder / "fleet-ca.pem")
    swarm_pem = read_private(folder / "swarm.pem", hint=_HINT)
    return HostIdentity(
        key=key,
        credential=credential,
        files=files,
        swarm_pem=swarm_pem,
        bundle=bundle,
        known_orders=known,
        cell_keys=cell_keys,
    )


def _credential_in(sealed: bytes) -> Sealed:
    """Our own credential, which was judged when it came.

    Its key may have been rotated since: peers refuse it then, and a renewal brings another one.
    """
    payload = decode(sealed, Envelope, bytes_max=BUNDLE_BYTES_MAX).payload
    return decode(payload, Sealed, bytes_max=BUNDLE_BYTES_MAX)  # pyright: ignore[reportArgumentType] a union is a type form
