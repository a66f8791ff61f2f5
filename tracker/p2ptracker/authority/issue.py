"""Certificates and credentials: names from the inventory, keys from whoever asks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from cryptography import x509

from p2pdeploy.messages.enrolment import IssuedIdentity, SigningRequests
from p2pdeploy.topology import Host
from p2pdeploy.trust.certificates import (
    CONTROL_PLANE_LIFETIME,
    HOST_LIFETIME,
    OPERATOR_LIFETIME,
    issue_leaf,
    issue_swarm_leaf,
    key_to_pem,
    new_key,
    signing_request,
)
from p2pdeploy.trust.credential import Credential
from p2pdeploy.trust.envelope import seal
from p2pdeploy.trust.identity import ControlPlaneId, HostId, OperatorId
from p2pdeploy.trust.private_files import read_private, write_private
from p2ptracker.authority.cell_rings import ring_of
from p2ptracker.authority.folder import TrustFolder

__all__ = ["issue_host", "issue_operator", "refresh_control_plane", "renew_host"]


def issue_host(
    trust: TrustFolder,
    host: Host,
    public_key: bytes,
    requests: SigningRequests,
    *,
    now: dt.datetime,
) -> IssuedIdentity:
    """Everything *host* needs, for the attestation key *public_key*.

    Raises:
        TrustError: a signing request is malformed.
    """
    credential = Credential(
        fleet=trust.fleet,
        cell=host.cell,
        host=host.name,
        fault_domain=host.fault_domain,
        enrolment=host.enrolment,
        public_key=public_key,
    )
    return renew_host(trust, host, seal(credential, trust.keys["enrol"]), requests, now=now)


def renew_host(
    trust: TrustFolder,
    host: Host,
    credential: bytes,
    requests: SigningRequests,
    *,
    now: dt.datetime,
) -> IssuedIdentity:
    """Fresh certificates for a host that holds *credential* already.

    Raises:
        TrustError: a signing request is malformed.
    """
    identity = HostId(trust.fleet, host.environment, host.machine_function, host.name)
    certificate = issue_leaf(
        trust.fleet_ca,
        requests.fleet,
        identity,
        addresses=(host.address,),
        enrolment=host.enrolment,
        lifetime=HOST_LIFETIME,
        now=now,
    )
    return IssuedIdentity(
        issued_at=now.timestamp(),
        expires_at=(now + HOST_LIFETIME).timestamp(),
        credential=credential,
        certificate_pem=certificate,
        swarm_certificate_pem=issue_swarm_leaf(trust.swarm_ca, requests.swarm, host.name, now=now),
        bundle=trust.bundle(),
        cell_keys=ring_of(trust, host.cell),
    )


def issue_operator(
    trust: TrustFolder,
    name: str,
    roles: Sequence[str],
    request: bytes,
    *,
    lifetime: dt.timedelta = OPERATOR_LIFETIME,
    now: dt.datetime,
) -> bytes:
    """The certificate in PEM of a person or a job; raises TrustError for a malformed request."""
    return issue_leaf(
        trust.fleet_ca,
        request,
        OperatorId(trust.fleet, name),
        addresses=(),
        roles=roles,
        lifetime=lifetime,
        now=now,
    )


def refresh_control_plane(trust: TrustFolder, address: str, *, now: dt.datetime) -> None:
    """Write the control plane's own identity unless what is there holds for half its life more.

    Raises:
        ConfigError: what is there is readable by others.
        OSError: the folder can't be written.
    """
    path = trust.paths.control_plane
    if not (path.exists() and _is_fresh(read_private(path, hint=""), address, now)):
        write_private(path, _issue_control_plane(trust, address, now=now))


def _is_fresh(pem: bytes, address: str, now: dt.datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    addresses = [str(found) for found in names.get_values_for_type(x509.IPAddress)]
    left = certificate.not_valid_after_utc - now
    return addresses == [address] and left > CONTROL_PLANE_LIFETIME / 2


def _issue_control_plane(trust: TrustFolder, address: str, *, now: dt.datetime) -> bytes:
    """A fresh key and certificate in one PEM, for a control plane at *address*."""
    key = new_key()
    certificate = issue_leaf(
        trust.fleet_ca,
        signing_request(key),
        ControlPlaneId(trust.fleet),
        addresses=(address,),
        lifetime=CONTROL_PLANE_LIFETIME,
        now=now,
    )
    return key_to_pem(key) + certificate
