"""Everything taken from python-tuf and securesystemslib, in one place.

``TrustedMetadataSet`` is the part of python-tuf's client that judges bytes from anywhere.  It is
internal there, so pyproject.toml pins the minor version and the tests of the attacks watch it.
"""

from __future__ import annotations

# From where the names are defined: both libraries re-export them without saying so in the way
# type checkers want.
from securesystemslib.signer._key import SSlibKey
from securesystemslib.signer._signature import Signature
from tuf.api._payload import (
    DelegatedRole,
    Delegations,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.exceptions import (
    BadVersionNumberError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata
from tuf.api.serialization.json import CanonicalJSONSerializer
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

__all__ = [
    "BadVersionNumberError",
    "CanonicalJSONSerializer",
    "DelegatedRole",
    "Delegations",
    "EnvelopeType",
    "ExpiredMetadataError",
    "LengthOrHashMismatchError",
    "MetaFile",
    "Metadata",
    "RepositoryError",
    "Role",
    "Root",
    "SSlibKey",
    "Signature",
    "Snapshot",
    "TargetFile",
    "Targets",
    "Timestamp",
    "TrustedMetadataSet",
    "UnsignedMetadataError",
]
