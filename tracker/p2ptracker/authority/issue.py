"""Certificates and credentials: names from the inventory, keys from whoever asks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

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
from p2ptracker.authority.folder import TrustFolder

__all__ = ["issue_control_plane", "issue_host", "issue_operator", "renew_host"]


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
        lifetime=HOST_LIFETIME,
        now=now,
    )
    return IssuedIdentity(
        credential=credential,
        certificate_pem=certificate,
        swarm_certificate_pem=issue_swarm_leaf(trust.swarm_ca, requests.swarm, host.name, now=now),
        bundle=trust.bundle(),
    )


def issue_operator(
    trust: TrustFolder, name: str, roles: Sequence[str], request: bytes, *, now: dt.datetime
) -> bytes:
    """The certificate in PEM of a person or a job; raises TrustError for a malformed request."""
    return issue_leaf(
        trust.fleet_ca,
        request,
        OperatorId(trust.fleet, name),
        addresses=(),
        roles=roles,
        lifetime=OPERATOR_LIFETIME,
        now=now,
    )


def issue_control_plane(trust: TrustFolder, address: str, *, now: dt.datetime) -> bytes:
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
