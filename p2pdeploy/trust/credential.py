"""A host's credential: the control plane's word on who may speak as a host of a cell.

It travels with each attestation, so that everybody can judge an attestation by itself.  It does
not expire: a healthy host has nothing new to say for months.  What ends it is a newer enrolment
of the same host, or a revocation, which raises the least enrolment that is believed.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import CellId, FaultDomain, HostName

__all__ = ["CREDENTIAL_BYTES_MAX", "Credential"]

# Five names of at most 63 characters (a cell: three), a key and a signature.
CREDENTIAL_BYTES_MAX = 1_024


class Credential(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="credential"
):
    """``public_key`` (Ed25519, 32 bytes) speaks for *host* since its *enrolment*."""

    fleet: str
    cell: CellId
    host: HostName
    fault_domain: FaultDomain
    enrolment: int
    public_key: bytes
