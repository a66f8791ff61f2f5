"""Who may call which route of the API, as ``p2pctl auth matrix`` shows it."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["AccessRow", "Permission"]

Permission = Literal[
    "open", "enrol", "renew", "host", "member", "view", "operator", "publish", "rollout", "admin"
]
"""What a route demands.

===========  ===================================================================
open         nothing: the health page
enrol        nothing of the connection; the body carries a join token, or is signed with a key
             that a company's certificate names
renew        nothing of the connection; the body is signed with a host's key
host         a host, which then speaks for itself only
member       a host, or whoever may view
view         any role
operator     any role; the caller acts for itself
publish      a publisher of the service in the path
rollout      a rollout owner
admin        an admin
===========  ===================================================================
"""


class AccessRow(msgspec.Struct, frozen=True, kw_only=True):
    """One route.  ``roles``: who gets through; ``anybody`` and ``host`` are no roles of people."""

    method: str
    path: str
    permission: Permission
    roles: tuple[str, ...]
