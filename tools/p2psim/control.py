"""The simulated control plane: a replica of the cell, the planner and the conductor.

Everything in ``conducted`` is durable and stored before orders leave; the replica is soft and
comes back from the delegates.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from p2pdeploy.gossip.anti_entropy import (
    admit,
    answer_diff,
    answer_exchange,
    answer_offer,
    offer,
)
from p2pdeploy.gossip.events import LocalItemPublished
from p2pdeploy.gossip.state import CellState, item_of
from p2pdeploy.ids import CellId, HostName, RolloutId, ServiceName
from p2pdeploy.messages.api import Reason
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.orders import Build, Order, Prefetch, Prefetched, Target
from p2pdeploy.planning.bounds import bounds_of
from p2pdeploy.planning.cell_rollout import View
from p2pdeploy.planning.conducted import Conducted, latest, replace_rollout
from p2pdeploy.planning.conductor import conduct, open_rollout
from p2pdeploy.planning.planner import CellFacts, Limits, plan_cell
from p2pdeploy.planning.steering import ask_abort, retry
from p2pdeploy.topology import Host
from p2pdeploy.trust.envelope import ROLE_OF, Sealed, seal
from p2psim.host import SimHost
from p2psim.trust import CachingVerifier
from p2psim.truth import Truth
from p2psim.world import World

__all__ = ["NAME", "SimControl"]

NAME = "control"
REPORT_FRESH_S = 5.0  # a delegate's view of who is alive counts this long


class SimControl:
    """The control plane of one cell."""

    def __init__(
        self, cell: CellId, hosts: list[Host], world: World, verifier: CachingVerifier, truth: Truth
    ) -> None:
        self.cell = cell
        self.up = True
        self.conducted = Conducted(cell=cell)
        self._hosts = hosts
        self._world, self._verifier, self._truth = world, verifier, truth
        self._state = CellState(cell)
        self._evidence: dict[ServiceName, dict[HostName, Attestation]] = {}
        self._alive: dict[HostName, tuple[float, frozenset[HostName]]] = {}
        self._orders: dict[str, bytes] = {}  # durable: key -> newest envelope

    def crash(self) -> None:
        self._world.note("control plane dies")
        self.up = False

    def restart(self) -> None:
        """Come back with the database, if down; orders and delegates fill the replica again."""
        if self.up:
            return
        self._world.note("control plane returns")
        self.up = True
        self._state = CellState(self.cell)
        self._evidence.clear()
        self._alive.clear()
        for envelope in self._orders.values():
            self._state.merge(item_of(self._verifier.open(envelope), envelope))

    # -- what the cell says --------------------------------------------------------------------

    def sync(self, host: SimHost) -> None:
        """One whole exchange with a delegate, as the two posts of ``messages/sync.py`` do it."""
        gossip = host.gossip.core
        if not self.up or gossip is None:
            return
        self._alive[host.host.name] = (self._world.now_s, gossip.alive_members())
        diff = answer_offer(self._state, offer(gossip.state))
        if not diff.buckets:
            return
        exchange = answer_diff(gossip.state, diff)
        for _, message in admit(self._state, exchange.items, self._verifier.open).merged:
            self._learn(message)
        for item in answer_exchange(self._state, exchange).items:
            host.gossip.handle(LocalItemPublished(item.envelope))

    def _learn(self, message: Sealed) -> None:
        if isinstance(message, Attestation):
            self._evidence.setdefault(message.service, {})[message.host] = message

    def evidence(self, service: ServiceName) -> Mapping[HostName, Attestation]:
        return self._evidence.get(service, {})

    def alive(self) -> frozenset[HostName]:
        """Who any delegate saw alive a moment ago."""
        fresh = [
            alive
            for at_s, alive in self._alive.values()
            if self._world.now_s - at_s < REPORT_FRESH_S
        ]
        return frozenset[HostName]().union(*fresh)

    # -- what it decides -----------------------------------------------------------------------

    def apply(self, service: ServiceName, build: Build, limits: Limits) -> bool:
        """Open a rollout unless one of this service is under way; True if it was opened."""
        before = latest(self.conducted, service)
        if not self.up or (before is not None and before.rollout.phase != "done"):
            return False
        settled = self.conducted.settled.get(service)
        words = self.evidence(service)
        seen = max((word.plan_seq for word in words.values()), default=0)
        used = before.rollout.plan.plan_seq if before else 0
        rollout_id = RolloutId(f"r{max(seen, used) + 2}")
        facts = CellFacts(
            cell=self.cell,
            hosts=tuple(self._hosts),
            alive=self.alive(),
            evidence=words,
            baseline=settled.build if settled else None,
            plan_seq_max=max(seen, used),
        )
        now = self._world.wall_s
        cell_plan = plan_cell(
            facts, service=service, build=build, rollout_id=rollout_id, limits=limits, now=now
        )
        if cell_plan is None:
            return False
        rollout = bounds_of(
            cell_plan,
            rollout_seq=self._next_rollout_seq(service),
            target=Target(environment="lab", machine_function="web"),
            failure_fraction_max=limits.failure_fraction_max,
        )
        self.conducted, orders = open_rollout(self.conducted, rollout, cell_plan, words)
        self._truth.planned(cell_plan)
        self._issue(orders)
        return True

    def _next_rollout_seq(self, service: ServiceName) -> int:
        """One more than the database and the cell know of."""
        before = latest(self.conducted, service)
        used = before.rollout.rollout_seq if before else 0
        seen = self._state.get(f"rollout/{service}")
        return 1 + max(used, seen.version[0] if seen else 0)

    def prefetch(self, service: ServiceName, builds: tuple[Build, ...], for_s: float) -> bool:
        """Replace what is brought to hosts ahead of a rollout; False while nobody is there."""
        if not self.up:
            return False
        seen = self._state.get(f"prefetch/{service}")
        now = self._world.wall_s
        order = Prefetch(
            cell=self.cell,
            service=service,
            prefetch_seq=1 + (seen.version[0] if seen else 0),
            issued_at=now,
            builds=tuple(Prefetched(build=build, not_after=now + for_s) for build in builds),
        )
        self._issue([order])
        return True

    def abort(self, service: ServiceName) -> bool:
        """An operator aborts the newest rollout; True if there was one to abort."""
        entry = latest(self.conducted, service)
        if not self.up or entry is None:
            return False
        reason = Reason(code="operator", message="aborted by an operator")
        rollout, orders = ask_abort(
            entry.rollout, result="aborted", reason=reason, now=self._world.wall_s
        )
        self.conducted = replace_rollout(self.conducted, rollout)
        self._issue(orders)
        return bool(orders)

    def retry(self, service: ServiceName) -> bool:
        """An operator lets the hosts that failed try again; True if there were any."""
        entry = latest(self.conducted, service)
        if not self.up or entry is None:
            return False
        view = View(self.evidence(service), self.alive(), self._world.wall_s)
        rollout, orders = retry(entry.rollout, view)
        self.conducted = replace_rollout(self.conducted, rollout)
        self._issue(orders)
        return bool(orders)

    def pause(self, service: ServiceName, *, paused: bool) -> bool:
        """An operator pauses or resumes the rollout under way; True if that changed it."""
        entry = latest(self.conducted, service)
        if not self.up or entry is None or entry.rollout.phase != "activating":
            return False
        if entry.rollout.paused == paused:
            return False
        rollout = msgspec.structs.replace(entry.rollout, paused=paused)
        self.conducted = replace_rollout(self.conducted, rollout)
        return True

    def tick(self) -> None:
        if not self.up:
            return
        self.conducted, orders = conduct(
            self.conducted, self._evidence, self.alive(), self._world.wall_s
        )
        self._issue(orders)

    def _issue(self, orders: list[Order]) -> None:
        for order in orders:
            envelope = seal(order, self._verifier.keyring.named(ROLE_OF[type(order)]))  # pyright: ignore[reportArgumentType] every order is Sealed
            item = item_of(self._verifier.open(envelope), envelope)
            self._orders[item.key] = envelope
            self._state.merge(item)
            self._truth.issued(order)
            self._world.note(f"control issues {type(order).__name__} {item.version}")
