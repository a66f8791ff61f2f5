"""A host's identity on disk: ``identity/`` in its state, readable by the daemon's user alone.

::

    attestation.key   Ed25519, made when the host joins; signs what it says and each renewal
    credential        the control plane's word on that key
    leaf.pem          key and certificate for every connection; renewed at half of its life
    swarm.pem         key and certificate for the swarm; renewed with it
    bundle            TrustBundle: whom to believe
    fleet-ca.pem      the bundle's fleet CA, as TLS wants it

Every file is replaced whole, and any mixture of an old and a new one works: so a kill in the
middle of a renewal does no harm.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import ConfigError, P2PDeployError
from p2pdeploy.messages.enrolment import IssuedIdentity
from p2pdeploy.trust.bundle import BUNDLE_BYTES_MAX, TrustBundle
from p2pdeploy.trust.private_files import make_private_folder, read_private, write_private
from p2pdeploy.trust.signing import SigningKey
from p2pdeploy.trust.tls import IdentityFiles

__all__ = ["HostIdentity", "load_attestation_key", "load_identity", "save_identity"]

_HINT = "this host has not joined a fleet: run 'p2pdaemon join TOKEN'"


class HostIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon of one host presents and believes.

    ``key`` signs attestations and carries the credential; ``swarm_pem`` holds key and
    certificate.
    """

    key: SigningKey
    files: IdentityFiles
    swarm_pem: bytes
    bundle: TrustBundle


def save_identity(
    folder: Path, key: SigningKey, leaf_key_pem: bytes, swarm_key_pem: bytes, issued: IssuedIdentity
) -> None:
    """Write everything; *key* first, so that no credential is ever without its key.

    Raises:
        OSError: the disk is full or not ours; what was there still works.
    """
    make_private_folder(folder)
    write_private(folder / "attestation.key", key.to_pem())
    write_private(folder / "credential", issued.credential)
    write_private(folder / "bundle", encode(issued.bundle))
    write_private(folder / "fleet-ca.pem", issued.bundle.fleet_ca_pem)
    write_private(folder / "swarm.pem", swarm_key_pem + issued.swarm_certificate_pem)
    write_private(folder / "leaf.pem", leaf_key_pem + issued.certificate_pem)


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
        key = load_attestation_key(folder, host)
    except ConfigError:
        raise
    except P2PDeployError as error:
        raise ConfigError(f"damaged: {error.message}", where=str(folder), hint=_HINT) from error
    files = IdentityFiles(certificate=leaf, key=leaf, authority=folder / "fleet-ca.pem")
    swarm_pem = read_private(folder / "swarm.pem", hint=_HINT)
    return HostIdentity(key=key, files=files, swarm_pem=swarm_pem, bundle=bundle)
