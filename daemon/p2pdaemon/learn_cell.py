"""What this host learns from the control plane beside orders: what time it is, and its cell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from p2pdaemon.clock import HostClock
from p2pdaemon.config import DaemonConfig
from p2pdaemon.control import ControlPlane
from p2pdaemon.kept_answer import keep_answer, read_answer
from p2pdaemon.tries import Tries
from p2pdeploy.activation.events import Event, Woken
from p2pdeploy.errors import UnavailableError
from p2pdeploy.gossip.shell import GossipShell
from p2pdeploy.limits import CELL_HOSTS_MAX
from p2pdeploy.messages.gossip import Member
from p2pdeploy.topology import Host

__all__ = ["CellLearner"]

# Three measurements fit into the 60 s that one is believed for.
MEASURE_EVERY_S = 18.0
SEEDS_EVERY_S = 60.0  # a new host of the cell is met by gossip long before

_CACHE = "inventory cache"  # among the calls that are logged once

_files = trio.CapacityLimiter(1)


class CellLearner:
    """The tasks of every host towards the control plane.

    Args:
        config: This host and its cell; the inventory is kept in its state folder, for a start
            without the control plane.
        control: The client.
        gossip: Told the cell's hosts.
        clock: Told each measured offset.
        send: Tells the core when the clock's state has changed.
        tries: Goes on trying.
    """

    def __init__(
        self,
        config: DaemonConfig,
        control: ControlPlane,
        gossip: GossipShell,
        clock: HostClock,
        send: Callable[[Event], Awaitable[None]],
        tries: Tries,
    ) -> None:
        self._cell = config.cell
        self._host = config.name
        self._cache = config.state_dir / "inventory.json"
        self._control = control
        self._gossip = gossip
        self._clock = clock
        self._send = send
        self._tries = tries

    async def measure_clock(self) -> None:
        """Learn the offset to the control plane, again and again."""
        while True:
            before = self._clock.now().synchronised
            if await self._tries.attempt("time", self._measure):
                if self._clock.now().synchronised != before:
                    await self._send(Woken())
                await self._tries.pause(MEASURE_EVERY_S)

    async def learn_seeds(self) -> None:
        """Learn the cell's hosts: first as they were last known, then from the control plane."""
        await self._tries.attempt("cached inventory", self._learn_cached)
        while True:
            if await self._tries.attempt("inventory", self._learn_current):
                await self._tries.pause(SEEDS_EVERY_S)

    # -- one round of each -------------------------------------------------------------------

    async def _measure(self) -> str:
        measured = await self._control.measure_offset()
        self._clock.learn_offset(measured.offset_s, measured.error_s)
        return "measured"

    async def _learn_cached(self) -> str:
        hosts = await trio.to_thread.run_sync(read_answer, self._cache, list[Host], limiter=_files)
        if hosts is not None:
            self._learn(hosts)
        return "learnt"

    async def _learn_current(self) -> str:
        hosts = await self._control.hosts_of(self._cell)
        self._learn(hosts)
        await self._keep_inventory(hosts)
        return "learnt"

    async def _keep_inventory(self, hosts: list[Host]) -> None:
        """For the next start; a disk that refuses it is no failure of the control plane."""
        try:
            await trio.to_thread.run_sync(keep_answer, self._cache, hosts, limiter=_files)
        except UnavailableError as error:
            self._tries.tell_once("inventory not kept", _CACHE, error)
        else:
            self._tries.forget(_CACHE)

    def _learn(self, hosts: list[Host]) -> None:
        seeds = [
            Member(
                name=host.name,
                address=host.address,
                gossip_port=host.gossip_port,
                swarm_port=host.swarm_port,
                fault_domain=host.fault_domain,
            )
            for host in hosts
            if host.cell == self._cell and host.name != self._host
        ]
        self._gossip.learn_seeds(tuple(seeds[:CELL_HOSTS_MAX]))
