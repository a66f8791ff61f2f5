"""What this host does with the control plane beside fetching: time, seeds, a delegate's exchange.

Everything here goes on trying for ever, and nothing else waits for it: a cell that knows its
orders does without the control plane until its lease ends.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import trio

from p2pdaemon.clock import HostClock
from p2pdaemon.config import DaemonConfig
from p2pdaemon.control import ControlPlane
from p2pdaemon.kept_inventory import keep_inventory, read_inventory
from p2pdaemon.log import get_logger
from p2pdeploy.activation.events import Event, Woken
from p2pdeploy.errors import P2PDeployError, ProtocolError, UnavailableError
from p2pdeploy.gossip.anti_entropy import answer_diff, delegates_of, offer
from p2pdeploy.gossip.members import is_alive, is_heard
from p2pdeploy.gossip.shell import GossipShell
from p2pdeploy.limits import CELL_HOSTS_MAX
from p2pdeploy.messages.gossip import Member
from p2pdeploy.messages.sync import (
    MemberView,
    SyncDiff,
    SyncExchange,
    SyncItems,
    SyncOffer,
)
from p2pdeploy.topology import Host

__all__ = ["CellSync"]

# Three measurements fit into the 60 s that one is believed for.
MEASURE_EVERY_S = 18.0
SEEDS_EVERY_S = 60.0  # a new host of the cell is met by gossip long before
# An order reaches its cell, and an attestation the control plane, as soon as one of the cell's
# four delegates asks.
SYNC_BUSY_S = 0.5  # while something moved at the last exchange
SYNC_IDLE_S = 2.0  # the first of four that ask at random times: half a second, mostly
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 15.0  # a control plane that comes back is noticed within this

_CACHE = "inventory cache"  # among the calls that are logged once

_log = get_logger("control")
_files = trio.CapacityLimiter(1)


class CellSync:
    """The tasks of one host towards the control plane.

    Args:
        config: This host and its cell; the inventory is kept in its state folder, for a start
            without the control plane.
        control: The client.
        gossip: The cell's replica; what the control plane says is published there.
        clock: Told each measured offset.
        send: Tells the core when the clock's state has changed.
        rng: Spreads the calls of many hosts.
        came_back: Called when the control plane answers again after it did not; never waits.
    """

    def __init__(
        self,
        config: DaemonConfig,
        control: ControlPlane,
        gossip: GossipShell,
        clock: HostClock,
        send: Callable[[Event], Awaitable[None]],
        rng: random.Random,
        came_back: Callable[[], None],
    ) -> None:
        self._cell = config.cell
        self._host = config.name
        self._cache = config.state_dir / "inventory.json"
        self._control = control
        self._gossip = gossip
        self._clock = clock
        self._send = send
        self._rng = rng
        self._came_back = came_back
        self.failures = 0  # calls that had no usable answer
        self.refusals = 0  # items that did not verify
        self._streaks: dict[str, int] = {}  # failures in a row, by call
        self._told: dict[str, str] = {}  # the code last logged, by call

    def is_delegate(self) -> bool:
        """Whether this host talks to the control plane for its cell now."""
        # Whoever was not heard yet counts: or, switched on, a whole cell would be delegates.
        present = (member.name for member in self._gossip.members() if is_alive(member))
        return self._host in delegates_of(self._cell, present)

    async def measure_clock(self) -> None:
        """Learn the offset to the control plane, again and again."""
        while True:
            before = self._clock.now().synchronised
            if await self._try("time", self._measure):
                if self._clock.now().synchronised != before:
                    await self._send(Woken())
                await self._pause(MEASURE_EVERY_S)

    async def learn_seeds(self) -> None:
        """Learn the cell's hosts: first as they were last known, then from the control plane."""
        await self._try("cached inventory", self._learn_cached)
        while True:
            if await self._try("inventory", self._learn_current):
                await self._pause(SEEDS_EVERY_S)

    async def sync_cell(self) -> None:
        """While this host is a delegate: make the control plane's replica and ours equal."""
        while True:
            moved = False
            if self.is_delegate():
                moved = await self._try("sync", self._sync_once) == "moved"
            if moved:
                await self._pause(SYNC_BUSY_S)
            else:  # the wide spread keeps the delegates from asking all at the same moment
                await trio.sleep(SYNC_IDLE_S * self._rng.uniform(0.5, 1.0))

    # -- one round of each -------------------------------------------------------------------

    async def _measure(self) -> str:
        measured = await self._control.measure_offset()
        self._clock.learn_offset(measured.offset_s, measured.error_s)
        return "measured"

    async def _learn_cached(self) -> str:
        hosts = await trio.to_thread.run_sync(read_inventory, self._cache, limiter=_files)
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
            await trio.to_thread.run_sync(keep_inventory, self._cache, hosts, limiter=_files)
        except UnavailableError as error:
            self._tell_once("inventory not kept", _CACHE, error)
        else:
            self._told.pop(_CACHE, None)

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

    async def _sync_once(self) -> str:
        members = tuple(
            MemberView(member.name, member.status, member.incarnation)
            for member in self._gossip.members()
            if is_heard(member)
        )
        told = await self._control.sync(
            self._cell,
            SyncOffer(
                cell=self._cell,
                host=self._host,
                members=members,
                offer=offer(self._gossip.state),
            ),
        )
        if not isinstance(told, SyncDiff):
            raise ProtocolError("the control plane answered an offer with something else")
        if not told.diff.buckets:
            return "equal"
        exchange = answer_diff(self._gossip.state, told.diff)
        answer = await self._control.sync(
            self._cell, SyncExchange(cell=self._cell, host=self._host, exchange=exchange)
        )
        if not isinstance(answer, SyncItems):
            raise ProtocolError("the control plane answered an exchange with something else")
        for item in answer.items.items:
            self._publish(item.envelope)
        return "moved"

    def _publish(self, envelope: bytes) -> None:
        try:
            self._gossip.publish(envelope)
        except P2PDeployError as error:
            # One bad item must not keep the others from the cell.
            self.refusals += 1
            _log.warning("order refused", code=error.code, error=str(error))

    # -- trying ------------------------------------------------------------------------------

    async def _try(self, what: str, call: Callable[[], Awaitable[str]]) -> str:
        """The result of *call*, or "" after a failure and the pause that it costs."""
        try:
            result = await call()
        except P2PDeployError as error:
            self.failures += 1
            streak = self._streaks[what] = self._streaks.get(what, 0) + 1
            self._tell_once("control plane call failed", what, error)
            await self._pause(min(RETRY_FIRST_S * 2 ** min(streak - 1, 8), RETRY_MAX_S))
            return ""
        self._told.pop(what, None)
        if self._streaks.pop(what, 0):
            _log.info("control plane is back", what=what)
            self._came_back()
        return result

    def _tell_once(self, event: str, what: str, error: P2PDeployError) -> None:
        """Log *error* unless the last one of *what* had the same code."""
        if self._told.get(what) != error.code:
            self._told[what] = error.code
            _log.warning(event, what=what, code=error.code, error=str(error))

    async def _pause(self, pause_s: float) -> None:
        await trio.sleep(pause_s * self._rng.uniform(0.75, 1.0))
