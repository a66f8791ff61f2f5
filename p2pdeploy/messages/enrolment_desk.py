"""What people ask of enrolment: tokens, who is enrolled, revocations.  All of it is JSON.

==============================================  =============================================
``POST /v1/enrolment/tokens``                   :class:`TokenRequest` -> list[:class:`TokenView`]
``GET /v1/enrolment``                           :class:`EnrolmentStatus`
``POST /v1/enrolment/revocations``              :class:`RevokeRequest`, again in the answer
==============================================  =============================================
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from p2pdeploy.ids import HostName
from p2pdeploy.limits import CELL_HOSTS_MAX
from p2pdeploy.topology import Host

__all__ = [
    "TOKEN_TTL_S",
    "TOKEN_TTL_S_MAX",
    "AlarmView",
    "EnrolledHost",
    "EnrolmentStatus",
    "RevokeRequest",
    "TokenRequest",
    "TokenView",
]

TOKEN_TTL_S = 3600.0  # the machine is being set up now
TOKEN_TTL_S_MAX = 86_400.0  # a rack that is installed over a day; longer is a password on a shelf
TOKENS_PER_REQUEST_MAX = CELL_HOSTS_MAX  # one cell; an import of more asks several times

_Reason = Annotated[str, msgspec.Meta(max_length=200)]


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens for hosts of the inventory, or for ``new`` ones, which enter it.

    ``on_lan``: the tokens name no address; hosts look for it on the local network.
    A host under ``new`` that is known already must be described as the inventory has it.
    ``by_certificate``: no tokens; each host may join once with its company's certificate.
    """

    hosts: Annotated[tuple[HostName, ...], msgspec.Meta(max_length=TOKENS_PER_REQUEST_MAX)] = ()
    new: Annotated[tuple[Host, ...], msgspec.Meta(max_length=TOKENS_PER_REQUEST_MAX)] = ()
    ttl_s: Annotated[float, msgspec.Meta(gt=0, le=TOKEN_TTL_S_MAX)] = TOKEN_TTL_S
    on_lan: bool = False
    by_certificate: bool = False


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """A token, shown this once: the control plane keeps only its hash.

    Empty when the host joins by its company's certificate instead, until ``expires_at``.
    """

    host: HostName
    token: str
    expires_at: datetime


class EnrolledHost(msgspec.Struct, frozen=True, kw_only=True):
    """How one host stands.  ``enrolment`` 0: it never joined.

    ``token_expires_at``: until when it may join, by a token or its company's certificate.
    """

    host: HostName
    state: str
    """``enrolled``, ``revoked``, ``token`` or ``certificate`` (may join by it) or ``none``."""
    enrolment: int = 0
    enrolled_at: datetime | None = None
    revoked_at: datetime | None = None
    token_expires_at: datetime | None = None
    reason: str = ""


class AlarmView(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody tried what only a thief or a mistake tries."""

    at: datetime
    host: HostName
    code: str
    message: str


class EnrolmentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``alarms``: the newest first."""

    hosts: list[EnrolledHost]
    alarms: list[AlarmView]


class RevokeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A host that is to be believed no more."""

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
    reason: _Reason = ""
