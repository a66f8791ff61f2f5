"""Who a certificate speaks for: one SPIFFE id in its subject alternative names.

::

    spiffe://FLEET/control-plane                        the control plane
    spiffe://FLEET/operator/NAME                        a person or a CI job
    spiffe://FLEET/ENVIRONMENT/MACHINE_FUNCTION/HOST    a daemon

Source: the SPIFFE ID and X.509-SVID standards (https://github.com/spiffe/spiffe).
"""

from __future__ import annotations

import re

import msgspec

from p2pdeploy.errors import TrustError
from p2pdeploy.ids import HostName

__all__ = ["ControlPlaneId", "HostId", "Identity", "OperatorId", "identity_of", "spiffe_id"]

# SPIFFE allows these in a path segment; ours are narrower already where they are made.
_SEGMENT = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")
_ID_CHARACTERS_MAX = 512  # the standard allows 2,048 bytes; four labels of 128 are what we make


class ControlPlaneId(msgspec.Struct, frozen=True):
    """The control plane of *fleet*."""

    fleet: str


class OperatorId(msgspec.Struct, frozen=True):
    """A person or a job that calls the API."""

    fleet: str
    name: str


class HostId(msgspec.Struct, frozen=True):
    """A daemon, as the inventory has it."""

    fleet: str
    environment: str
    machine_function: str
    host: HostName


Identity = ControlPlaneId | OperatorId | HostId


def spiffe_id(identity: Identity) -> str:
    """The URI that stands in the certificate of *identity*."""
    match identity:
        case ControlPlaneId(fleet):
            path = "control-plane"
        case OperatorId(fleet, name):
            path = f"operator/{name}"
        case HostId(fleet, environment, machine_function, host):
            path = f"{environment}/{machine_function}/{host}"
    return f"spiffe://{fleet}/{path}"


def identity_of(uri: str) -> Identity:
    """Read the URI of a certificate.

    Raises:
        TrustError: it is no SPIFFE id of one of the three forms; trust its bearer with nothing.
    """
    scheme, separator, rest = uri.partition("://")
    if scheme != "spiffe" or not separator or len(uri) > _ID_CHARACTERS_MAX:
        raise TrustError(f"{uri[:80]!r} is no SPIFFE id")
    segments = rest.split("/")
    if not all(_SEGMENT.match(segment) and segment not in (".", "..") for segment in segments):
        raise TrustError(f"{uri[:80]!r} is no SPIFFE id of a fleet")
    match segments:
        case [fleet, "control-plane"]:
            return ControlPlaneId(fleet)
        case [fleet, "operator", name]:
            return OperatorId(fleet, name)
        case [fleet, environment, machine_function, host]:
            return HostId(fleet, environment, machine_function, HostName(host))
        case _:
            raise TrustError(f"{uri[:80]!r} names nobody of a fleet")
