"""Who is believed no more: the control plane's word to one cell, newest in force.

It travels like an order, so a cell that is cut off from the control plane hears of it from any
member that isn't; and each host asks for it by itself, so that no member can keep it back.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from p2pdeploy.ids import CellId, HostName
from p2pdeploy.limits import CELL_HOSTS_MAX, ENROLMENT_MAX, NUMBER_MAX

__all__ = ["REFUSED_SERIALS_MAX", "Revocations"]

# Operators' certificates that were refused before they expired; the oldest expire after 30 days.
REFUSED_SERIALS_MAX = 500

_Number = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
_Enrolment = Annotated[int, msgspec.Meta(ge=0, le=ENROLMENT_MAX)]
_Floors = Annotated[dict[HostName, _Enrolment], msgspec.Meta(max_length=2 * CELL_HOSTS_MAX)]
_Hosts = Annotated[dict[HostName, str], msgspec.Meta(max_length=2 * CELL_HOSTS_MAX)]
_Serials = Annotated[tuple[str, ...], msgspec.Meta(max_length=REFUSED_SERIALS_MAX)]


class Revocations(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="revocations"
):
    """All of a cell's, complete in itself.

    ``seq`` rises with every change.  ``floors``: the least enrolment that is believed of a host;
    one that was enrolled anew has a floor and is believed.  ``refused``: hosts that are out until
    they are enrolled anew, with their addresses.  ``serials``: operators' certificates.
    """

    fleet: str
    cell: CellId
    seq: _Number
    floors: _Floors
    refused: _Hosts
    serials: _Serials = ()
