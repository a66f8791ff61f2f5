"""With whom a cell's gateways exchange pieces: the answer to ``GET /v1/cells/CELL/gateways``."""

from __future__ import annotations

from typing import Annotated

import msgspec

from p2pdeploy.ids import HostName

__all__ = ["GATEWAYS_BYTES_MAX", "GATEWAY_LINKS_MAX", "GatewayLink", "Gateways"]

GATEWAY_LINKS_MAX = 32  # 8 stripes of 4 links each
GATEWAYS_BYTES_MAX = 8 * 1024  # 32 links of 150 bytes

_NAME_CHARS_MAX = 63  # of a host, a DNS label
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"^{_BYTE}(\.{_BYTE}){{3}}\Z"


class GatewayLink(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway of one stripe in another cell, and where it listens for peers."""

    stripe: Annotated[int, msgspec.Meta(ge=0, le=7)]
    host: Annotated[HostName, msgspec.Meta(min_length=1, max_length=_NAME_CHARS_MAX)]
    address: Annotated[str, msgspec.Meta(pattern=_IPV4)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class Gateways(msgspec.Struct, frozen=True, kw_only=True):
    """The cell's links to other cells of its target; none while no other is seen alive."""

    links: Annotated[tuple[GatewayLink, ...], msgspec.Meta(max_length=GATEWAY_LINKS_MAX)] = ()
