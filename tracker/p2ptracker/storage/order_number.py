"""How far one count of orders has come in a cell; what is stored of it, without the storing."""

from __future__ import annotations

from typing import Literal

import msgspec

from p2pdeploy.ids import ServiceName

__all__ = ["NumberKind", "OrderNumber"]

NumberKind = Literal["rollout", "plan", "lease", "limits"]


class OrderNumber(msgspec.Struct, frozen=True):
    """How far a count has come: ``rollout_seq``, ``plan_seq``, or, without a service,
    ``lease_seq`` and ``limits_seq``.
    """

    kind: NumberKind
    service: ServiceName
    number: int
