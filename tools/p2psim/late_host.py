"""The hardest case for "no two plans in flight", brought about on purpose.

One host is away while version 2 is rolled out.  It returns, is named to catch up, and in the very
moment in which it begins the operator rolls out version 3.
"""

from __future__ import annotations

from collections.abc import Mapping

from p2pdeploy.ids import HostName, ServiceName
from p2psim.control import SimControl
from p2psim.host import SimHost
from p2psim.network import Network
from p2psim.options import Options, rng_for
from p2psim.truth import Truth
from p2psim.world import World

__all__ = ["LateHost"]

PATIENCE_S = 60.0  # then the operator goes on without it: other faults may be in the way


class LateHost:
    """Decides when the operator may apply the next version of one service."""

    def __init__(
        self,
        options: Options,
        world: World,
        network: Network,
        hosts: Mapping[HostName, SimHost],
        control: SimControl,
        truth: Truth,
    ) -> None:
        self._wanted = options.late_host
        self._world, self._network, self._control, self._truth = world, network, control, truth
        rng = rng_for(options.seed, "late host")
        self._host = hosts[rng.choice(sorted(hosts))]
        self._waiting_since: dict[str, float] = {}

    def lets_apply(self, service: ServiceName, version: str) -> bool:
        """Whether the moment for *version* has come; asked again and again."""
        if not self._wanted or self._network.healed:
            return True
        if version not in self._waiting_since:
            self._begin(service, version)
        if self._world.now_s - self._waiting_since[version] > PATIENCE_S:
            return True
        name = self._host.host.name
        if version == "2":
            return name not in self._control.alive()
        if version == "3":
            moment = (name, service) in self._truth.changing
            self._truth.happened("a plan was opened while a late host caught up", moment)
            return moment
        return True

    def _begin(self, service: ServiceName, version: str) -> None:
        self._waiting_since[version] = self._world.now_s
        if version == "2" and self._host.up:
            self._host.reboot()
        elif version == "3":
            self._host.boot_if_down()
