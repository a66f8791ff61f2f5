"""What a member of a fleet must know to judge everybody else: public, and the same for all.

Authorities come from the control plane, over a connection that the join token pins.  Who signs
orders doesn't: that stands in the signed targets document (:mod:`p2pdeploy.trust.releases`), which
each host judges by itself, so that a stolen control plane can't name keys of its own.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.trust.keyring import OrderKeys

__all__ = ["BUNDLE_BYTES_MAX", "KNOWN_ORDERS_BYTES_MAX", "KnownOrders", "TrustBundle"]

BUNDLE_BYTES_MAX = 64 * 1024  # two authorities are 2 KiB, a root up to 32
KNOWN_ORDERS_BYTES_MAX = 16 * 1024  # five roles of at most 16 keys


class TrustBundle(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet's authorities in PEM, and a root of its releases.

    A host gets it when it enrols, over a connection whose authority its join token pins, and
    again at each renewal, when it keeps the root that it has.
    """

    fleet: str
    fleet_ca_pem: bytes
    swarm_ca_pem: bytes
    release_root: bytes  # the root document of p2pdeploy.trust.releases


class KnownOrders(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who signs orders, as version *targets_version* of the signed targets document says."""

    targets_version: int
    orders: OrderKeys
