"""An authority for the swarms of tests, and leaves under it."""

from __future__ import annotations

import datetime as dt

from p2pdeploy.swarm.identity import SwarmIdentity
from p2pdeploy.trust.certificates import (
    Authority,
    issue_swarm_leaf,
    key_to_pem,
    new_authority,
    new_key,
    signing_request,
)

SWARM_CA = new_authority("test swarm CA", now=dt.datetime.now(dt.UTC))


def swarm_identity(
    authority: Authority = SWARM_CA, host: str = "h01", *, age: dt.timedelta = dt.timedelta()
) -> SwarmIdentity:
    """A fresh leaf of *authority*, issued *age* ago, for our swarm."""
    key = new_key()
    leaf = issue_swarm_leaf(
        authority, signing_request(key), host, now=dt.datetime.now(dt.UTC) - age
    )
    return SwarmIdentity(certificate_pem=leaf, key_pem=key_to_pem(key), authority_pem=SWARM_CA.pem)
