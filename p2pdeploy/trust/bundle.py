"""What a member of a fleet must know to judge everybody else: public, and the same for all."""

from __future__ import annotations

import msgspec

from p2pdeploy.trust.keyring import OrderKeys

__all__ = ["BUNDLE_BYTES_MAX", "TrustBundle"]

BUNDLE_BYTES_MAX = 64 * 1024  # two authorities and a few dozen keys are 3 KiB, a root up to 32


class TrustBundle(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet's authorities in PEM, the keys that sign orders, and a root of its releases.

    A host gets it when it enrols, over a connection whose authority its join token pins, and
    again at each renewal.
    """

    fleet: str
    fleet_ca_pem: bytes
    swarm_ca_pem: bytes
    orders: OrderKeys
    release_root: bytes  # the root document of p2pdeploy.trust.releases
