"""What the calls of every noun stand on: the connection, and the paths of the API."""

from __future__ import annotations

from urllib.parse import quote

from p2pctl.names import is_plain_name
from p2pctl.wire import Wire
from p2pdeploy.ids import check_version

__all__ = ["Calls", "api_path"]


class Calls:
    """The calls of one noun; :class:`~p2pctl.client.ApiClient` is all of them together.

    Args:
        wire: Where the calls go; whoever made it closes it.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire


def api_path(*parts: str, version: str = "") -> str:
    """``/v1/PART/...``, with *version*, which may hold a ``+``, as the last part if given."""
    for part in parts:
        assert is_plain_name(part), part  # the commands refuse it as a usage error
    path = "/v1/" + "/".join(parts)
    return f"{path}/{quote(check_version(version), safe='')}" if version else path
