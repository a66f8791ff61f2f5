"""Everything taken from python-tuf and securesystemslib, in one place.

``TrustedMetadataSet`` is the part of python-tuf's client that judges bytes from anywhere.  It is
internal there, so pyproject.toml pins the minor version and the tests of the attacks watch it.
That package's ``__init__`` loads the part that downloads, and urllib3 with it: 40 ms and 1 MiB of
each process.  Nothing here downloads, so it is left out.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

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


def _leave_out_downloading() -> None:
    """Make ``tuf.ngclient`` a package whose ``__init__`` was not run; its modules are all there."""
    spec = importlib.util.find_spec("tuf.ngclient")
    assert spec is not None, "python-tuf is pinned and has this package"
    package = ModuleType(spec.name)
    package.__path__ = list(spec.submodule_search_locations or ())
    package.__spec__ = spec
    sys.modules.setdefault(spec.name, package)


_leave_out_downloading()

from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet  # noqa: E402 see above
from tuf.ngclient.config import EnvelopeType  # noqa: E402 see above

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
