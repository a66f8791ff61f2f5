"""TLS 1.3 between the programs of a fleet: contexts, and who the other side is.

Names of machines prove nothing here.  A peer is who the URI of its certificate says, and that
is checked inside the handshake, so no byte is sent to anybody else.

Sources: RFC 8446; ``ssl.SSLContext.sslobject_class`` and ``sslsocket_class`` of the standard
library for the check inside the handshake.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from p2pdeploy.errors import ConfigError, TrustError
from p2pdeploy.trust.identity import ControlPlaneId, HostId, Identity, identity_of

__all__ = [
    "IdentityFiles",
    "Peer",
    "canonical_serial",
    "client_context",
    "demand_identity",
    "is_control_plane",
    "is_host",
    "peer_of",
    "server_context",
]


_ENROLMENT = re.compile(r"[0-9]{1,10}\Z")  # the upper half of an epoch is 31 bit


class IdentityFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What a program presents, and whom it believes, as PEM files."""

    certificate: Path
    key: Path
    authority: Path


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """The other side of a connection, as its certificate says.

    ``roles`` are an operator's, none for anybody else; ``serial`` is a :func:`canonical_serial`;
    ``enrolment`` is a host's, 0 for anybody else.
    """

    identity: Identity
    roles: tuple[str, ...] = ()
    serial: str = ""
    enrolment: int = 0


def peer_of(certificate: Mapping[str, Any] | None) -> Peer:
    """Read what ``getpeercert()`` returned; the chain was verified by TLS.

    Raises:
        TrustError: no certificate, or not exactly one URI of our form in it.
    """
    if not certificate:
        raise TrustError("the peer presented no certificate", code="no-certificate")
    names = certificate.get("subjectAltName", ())
    uris = [value for kind, value in names if kind == "URI"]
    if len(uris) != 1:
        raise TrustError(f"the peer's certificate has {len(uris)} URIs, not one")
    subject = [pair for group in certificate.get("subject", ()) for pair in group]
    return Peer(
        identity=identity_of(uris[0]),
        roles=tuple(value for key, value in subject if key == "organizationName"),
        serial=canonical_serial(str(certificate.get("serialNumber", ""))),
        enrolment=_enrolment_of(subject),
    )


def canonical_serial(serial: str) -> str:
    """One spelling of a serial number in hexadecimal: programs differ in case and leading zeros."""
    return serial.strip().upper().lstrip("0")


def _enrolment_of(subject: Sequence[tuple[str, str]]) -> int:
    numbers = [value for key, value in subject if key == "serialNumber"]
    return int(numbers[0]) if len(numbers) == 1 and _ENROLMENT.match(numbers[0]) else 0


def is_control_plane(identity: Identity) -> bool:
    """Whom API clients demand to talk to: a host's certificate doesn't do."""
    return isinstance(identity, ControlPlaneId)


def is_host(name: str) -> Callable[[Identity], bool]:
    """Whom a caller of the daemon of host *name* demands to talk to."""
    return lambda identity: isinstance(identity, HostId) and identity.host == name


def server_context(files: IdentityFiles, *, demands_certificate: bool) -> ssl.SSLContext:
    """For a listener.

    Args:
        files: What we present, and the CA of our peers.
        demands_certificate: Refuse a client without one in the handshake.  Otherwise it gets as
            far as the caller's own check of :func:`peer_of`.

    Raises:
        ConfigError: a file is missing or not what it should be.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, files)
    context.verify_mode = ssl.CERT_REQUIRED if demands_certificate else ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def client_context(
    files: IdentityFiles, expects: Callable[[Identity], bool], *, who: str
) -> ssl.SSLContext:
    """For connections to one kind of peer.

    Args:
        files: What we present, and the CA of our peers.
        expects: Whether this is who we want to talk to.
        who: Its name in errors (``the control plane``).

    Raises:
        ConfigError: a file is missing or not what it should be.

    The handshake raises ``ssl.SSLCertVerificationError`` for anybody else; nothing was sent.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, files)
    demand_identity(context, expects, who)
    return context


def demand_identity(context: ssl.SSLContext, expects: Callable[[Identity], bool], who: str) -> None:
    """Let handshakes under *context* fail unless the peer is the one expected."""

    def check(certificate: Mapping[str, Any] | None) -> None:
        try:
            peer = peer_of(certificate)
        except TrustError as error:
            raise ssl.SSLCertVerificationError(f"{who}: {error}") from None
        if not expects(peer.identity):
            raise ssl.SSLCertVerificationError(f"the peer is {peer.identity}, not {who}")

    class CheckedObject(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            check(self.getpeercert())

    class CheckedSocket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            check(self.getpeercert())

    context.check_hostname = False  # by identity, not by the name of a machine
    context.sslobject_class = CheckedObject
    context.sslsocket_class = CheckedSocket


def _context(protocol: int, files: IdentityFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cafile=files.authority)
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the identity is not usable: {error}", where=str(files.certificate), code="no-trust"
        ) from error
    return context
