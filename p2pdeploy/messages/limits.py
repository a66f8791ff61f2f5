"""Rate limits as people set and see them: documents of the API.

================================  ==========================================================
``GET /v1/limits``                list[:class:`LimitView`]
``POST /v1/limits``               :class:`LimitRequest` -> :class:`LimitView`
``POST /v1/limits/clear``         :class:`LimitTarget` -> :class:`LimitView`, which is gone
``GET /v1/hosts/{host}/limits``   :class:`HostLimitsView`
================================  ==========================================================

What hosts are told of it is one order per cell (:mod:`p2pdeploy.messages.rates`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.api import Document
from p2pdeploy.messages.rates import RATE_BYTES_PER_S_MAX, RATE_BYTES_PER_S_MIN, RatesInForce

__all__ = ["HostLimitsView", "LimitKind", "LimitRequest", "LimitScope", "LimitTarget", "LimitView"]

LimitScope = Literal["host", "cell", "environment"]
LimitKind = Literal["each-host", "uplink"]
"""``each-host``: all that one host moves.  ``uplink``: what enters a cell, of all its hosts."""

_Name = Annotated[str, msgspec.Meta(max_length=200)]  # a cell's is made of three labels of 63
_Rate = Annotated[int, msgspec.Meta(ge=RATE_BYTES_PER_S_MIN, le=RATE_BYTES_PER_S_MAX)]


class LimitTarget(Document, frozen=True, forbid_unknown_fields=True):
    """Whom a limit is for: a host, a cell, or every cell of an environment and machine function.

    ``each_host``: of a cell or several, each host by itself, instead of the cell's edge.
    """

    host: _Name = ""
    cell: _Name = ""
    environment: _Name = ""
    machine_function: _Name = ""
    each_host: bool = False


class LimitRequest(Document, frozen=True, forbid_unknown_fields=True):
    """Set a limit in the place of the one before; None is unlimited, which is a limit as well.

    What leaves a cell has no limit: ``upload_bytes_per_s`` is for hosts.
    """

    target: LimitTarget
    download_bytes_per_s: _Rate | None = None
    upload_bytes_per_s: _Rate | None = None


class LimitView(Document, frozen=True):
    """One limit that is set.  ``name``: of the host or cell, or ``ENVIRONMENT/MACHINE_FUNCTION``.

    Where several fit, a host's own goes before its cell's, and that before its environment's.
    """

    scope: LimitScope
    name: str
    kind: LimitKind
    download_bytes_per_s: int | None
    upload_bytes_per_s: int | None
    set_at: datetime


class HostLimitsView(Document, frozen=True):
    """What holds for one host.  ``limits``: those that are set for it, first the one that counts.

    ``in_force`` is its own word, None when it does not answer; then ``silence`` says why.
    """

    host: HostName
    cell: CellId
    limits: list[LimitView]
    in_force: RatesInForce | None
    silence: str = ""
