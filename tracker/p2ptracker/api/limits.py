"""Routes of rate limits: set, cleared and seen; what a host keeps to is its own word."""

from __future__ import annotations

from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler

from p2pdeploy.errors import P2PDeployError
from p2pdeploy.host_client import ask_status
from p2pdeploy.ids import HostName
from p2pdeploy.messages.limits import HostLimitsView, LimitRequest, LimitTarget, LimitView
from p2pdeploy.messages.rates import RatesInForce
from p2ptracker.api.routes import get, post
from p2ptracker.control_plane import ControlPlane

__all__ = ["limit_handlers"]


def limit_handlers(plane: ControlPlane) -> list[ControllerRouterHandler]:
    """The routes, over *plane*."""

    @get("/limits", "view")
    async def list_rate_limits() -> list[LimitView]:
        """Every limit that is set."""
        return plane.rates.known()

    @post("/limits", "rollout")
    async def set_rate_limit(data: JSONBody[LimitRequest]) -> LimitView:
        """Set a limit; hosts keep to it within seconds."""
        return await plane.rates.set(data)

    @post("/limits/clear", "rollout")
    async def clear_rate_limit(data: JSONBody[LimitTarget]) -> LimitView:
        """Take a limit back; returns it."""
        return await plane.rates.clear(data)

    @get("/hosts/{host:str}/limits", "view")
    async def get_host_rates(host: FromPath[str]) -> HostLimitsView:
        """What is set for one host, and what it keeps to now."""
        known = plane.inventory.get(HostName(host))
        in_force, silence = await _ask(plane, host)
        return HostLimitsView(
            host=known.name,
            cell=known.cell,
            limits=plane.rates.of_host(known),
            in_force=in_force,
            silence=silence,
        )

    return [list_rate_limits, set_rate_limit, clear_rate_limit, get_host_rates]


async def _ask(plane: ControlPlane, host: str) -> tuple[RatesInForce | None, str]:
    """What *host* keeps to, or why it does not say."""
    try:
        rates = (await ask_status(plane.daemons.address_of(host))).rates
    except P2PDeployError as error:
        return None, str(error)
    return rates, "" if rates is not None else "its daemon knows no limits: update it"
