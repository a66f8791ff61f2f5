"""What a host presents in the swarm, and whom it takes for a member (shell).

libtorrent checks a peer inside the TLS handshake: its certificate must chain to the ``ssl-cert``
of the torrent.  So a torrent of another authority, or of none, would open our disk to strangers.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

import msgspec

from p2pdeploy.errors import TrustError

__all__ = ["SwarmIdentity", "present", "require_ours", "require_pair", "require_successor"]

PEM_BYTES_MAX = 64 * 1024  # leaf, key and chain are 2 KiB; above it a memory file might block

# Group ffdhe2048 of RFC 7919, public.  TLS 1.3 makes no use of it, but libtorrent insists on one
# and reports an error for every torrent without.
_DH_PARAMETERS_PEM = """\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""


class SwarmIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A leaf under the swarm CA, all in PEM.

    ``certificate_pem`` and ``key_pem`` may be one text that holds both.  ``authority_pem`` is the
    swarm CA exactly as the control plane hands it out: its bytes are part of every info-hash.
    """

    certificate_pem: bytes
    key_pem: bytes
    authority_pem: bytes

    def __repr__(self) -> str:
        return f"<SwarmIdentity, {len(self.certificate_pem)} bytes of certificate>"  # never the key


def require_pair(identity: SwarmIdentity) -> SwarmIdentity:
    """Return *identity* if its key belongs to its certificate.

    libtorrent would tell of a mistake in the log only, and every connection would fail.

    Raises:
        TrustError: no certificate, no key, or one that belongs to another certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    text = identity.certificate_pem + b"\n" + identity.key_pem
    if len(text) > PEM_BYTES_MAX:
        raise TrustError(f"the swarm identity is above {PEM_BYTES_MAX} bytes", code="bad-identity")
    descriptor = os.memfd_create("swarm-identity")  # the key must not touch a disk
    try:
        os.write(descriptor, text)
        # An encrypted key is an error here; without a password OpenSSL would ask at the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
    except (ssl.SSLError, OSError) as error:
        raise TrustError(
            f"the swarm certificate and its key are unusable: {error}",
            hint="renew this host's identity",
            code="bad-identity",
        ) from error
    finally:
        os.close(descriptor)
    return identity


def require_successor(identity: SwarmIdentity, old: SwarmIdentity) -> SwarmIdentity:
    """Return *identity* if it may take the place of *old* in a running session.

    Raises:
        TrustError: as :func:`require_pair`; or another authority (``other-authority``).
    """
    if identity.authority_pem != old.authority_pem:
        raise TrustError(
            "the swarm CA has changed", hint="restart the daemon", code="other-authority"
        )
    return require_pair(identity)


def present(handle: Any, identity: SwarmIdentity) -> None:
    """Have a torrent show *identity* in each handshake from now on.

    Args:
        handle: Libtorrent's torrent_handle; every torrent has a leaf of its own.
        identity: Was required to be a pair.
    """
    certificate, key = identity.certificate_pem.decode(), identity.key_pem.decode()
    handle.set_ssl_certificate_buffer(certificate, key, _DH_PARAMETERS_PEM)


def require_ours(torrent_authority_pem: bytes, identity: SwarmIdentity) -> None:
    """Refuse a torrent that other peers than this fleet's may join.

    Raises:
        TrustError: its ``ssl-cert`` is another authority's than *identity*'s, or missing.
    """
    if torrent_authority_pem == identity.authority_pem:
        return
    fault = "another swarm CA" if torrent_authority_pem else "no swarm CA"
    raise TrustError(
        f"the torrent names {fault}",
        hint="derive it from the manifest anew",
        code="foreign-torrent",
    )
