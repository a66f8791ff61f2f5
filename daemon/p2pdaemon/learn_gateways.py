"""What a host learns of other cells: with whom the gateways of its own exchange pieces.

A gateway asks often, so that it hears soon who follows a dead one elsewhere.  Everybody else asks
ever less, and at once when it comes to be a gateway.  Without an answer all stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.control import ControlPlane
from p2pdaemon.kept_answer import keep_answer, read_answer
from p2pdaemon.mesh import CellMesh
from p2pdaemon.tries import Tries
from p2pdeploy.errors import UnavailableError
from p2pdeploy.gossip.effects import MemberChanged, Notice
from p2pdeploy.messages.gateways import Gateways

__all__ = ["GatewayLearner"]

ASK_FIRST_S = 1.0  # then twice as long each time: a fleet that was switched on comes to be seen
GATEWAY_ASKS_S = 10.0  # 8 gateways of 3,000 cells are 2,400 questions a second
OTHERS_ASK_S = 300.0

_CACHE = "gateways cache"  # among the calls that are logged once

_files = trio.CapacityLimiter(1)


class GatewayLearner:
    """The task of every host that asks for gateways.

    Args:
        config: This host and its cell; the answer is kept in its state folder.
        control: The client.
        mesh: Told the links.
        changed: Called when these are others than before; never waits.
        tries: Goes on trying.
    """

    def __init__(
        self,
        config: DaemonConfig,
        control: ControlPlane,
        mesh: CellMesh,
        changed: Callable[[], None],
        tries: Tries,
    ) -> None:
        self._cell = config.cell
        self._cache = config.state_dir / "gateways.json"
        self._control = control
        self._mesh = mesh
        self._changed = changed
        self._tries = tries
        self._member_changed = trio.Event()

    def hear(self, notice: Notice) -> None:
        """Take note of a change of membership; called by gossip, never waits."""
        if isinstance(notice, MemberChanged):
            self._member_changed.set()

    async def learn_gateways(self) -> None:
        """First as they were last known, then from the control plane, again and again."""
        await self._tries.attempt("cached gateways", self._learn_kept)
        pause_s = ASK_FIRST_S
        while True:
            if not await self._tries.attempt("gateways", self._learn_current):
                continue
            if self._mesh.is_gateway():
                await self._tries.pause(min(pause_s, GATEWAY_ASKS_S))
            else:
                with trio.move_on_after(pause_s):
                    await self._wait_gateway()
            pause_s = min(2 * pause_s, OTHERS_ASK_S)

    async def _wait_gateway(self) -> None:
        """Return when this host has come to be a gateway."""
        while not self._mesh.is_gateway():
            self._member_changed = trio.Event()
            await self._member_changed.wait()

    async def _learn_kept(self) -> str:
        told = await trio.to_thread.run_sync(read_answer, self._cache, Gateways, limiter=_files)
        if told is not None:
            self._learn(told)
        return "learnt"

    async def _learn_current(self) -> str:
        told = await self._control.gateways_of(self._cell)
        self._learn(told)
        await self._keep(told)
        return "learnt"

    async def _keep(self, told: Gateways) -> None:
        """For the next start; a disk that refuses it is no failure of the control plane."""
        try:
            await trio.to_thread.run_sync(keep_answer, self._cache, told, limiter=_files)
        except UnavailableError as error:
            self._tries.tell_once("gateways not kept", _CACHE, error)
        else:
            self._tries.forget(_CACHE)

    def _learn(self, told: Gateways) -> None:
        if self._mesh.learn_gateways(told):
            self._changed()
