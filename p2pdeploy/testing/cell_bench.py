"""One cell under the conductor on a bench; its hosts say what the test makes them say."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from p2pdeploy.ids import HostName, ServiceName
from p2pdeploy.messages.api import Reason
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Build, Go, Grant, Order
from p2pdeploy.planning.cell_rollout import (
    CellRollout,
    Result,
    View,
)
from p2pdeploy.planning.conducted import Conducted, latest, replace_rollout
from p2pdeploy.planning.conductor import conduct, open_rollout
from p2pdeploy.planning.planner import CellPlan
from p2pdeploy.planning.steering import ask_abort, excuse
from p2pdeploy.testing.orders import CELL, EPOCH_S, NEW, OLD, WEB, a_plan, a_word, rollout_of

__all__ = ["API", "ASKED", "Cell", "completed", "names", "opened"]

API = ServiceName("api")
ASKED = Reason(code="operator", message="asked")


class Cell:
    """One cell under the conductor; hosts say what the test makes them say."""

    def __init__(self, hosts: int = 6) -> None:
        self.conducted = Conducted(cell=CELL)
        self.evidence: dict[ServiceName, dict[HostName, Attestation]] = {WEB: {}, API: {}}
        self.alive = frozenset(HostName(f"h{n + 1}") for n in range(hosts))
        self.now = EPOCH_S
        self.issued: list[Order] = []
        self.lease_seq_seen = 0

    def open(self, cell_plan: CellPlan) -> list[Order]:
        service = cell_plan.plan.service
        self.conducted, orders = open_rollout(
            self.conducted, rollout_of(cell_plan), cell_plan, self.evidence[service]
        )
        return orders

    def tick(self, seconds: float = 0.0) -> list[Order]:
        self.now += seconds
        self.conducted, orders = conduct(
            self.conducted,
            self.evidence,
            self.alive,
            self.now,
            lease_seq_seen=self.lease_seq_seen,
        )
        self.issued += orders
        return orders

    def say(
        self,
        hosts: Iterable[str],
        plan_seq: int,
        rank: Rank,
        *,
        runs: Build | None = OLD,
        service: ServiceName = WEB,
    ) -> None:
        for host in hosts:
            word = msgspec.structs.replace(
                a_word(host, plan_seq, rank, runs=runs),
                service=service,
                reason_code="exited" if rank is Rank.FAILED else "",
            )
            self.evidence[service][word.host] = word

    def lose(self, *hosts: str) -> None:
        self.alive -= {HostName(host) for host in hosts}

    def rollout(self, service: ServiceName = WEB) -> CellRollout:
        entry = latest(self.conducted, service)
        assert entry is not None
        return entry.rollout

    def pause(self, *, paused: bool = True, service: ServiceName = WEB) -> None:
        rollout = msgspec.structs.replace(self.rollout(service), paused=paused)
        self.conducted = replace_rollout(self.conducted, rollout)

    def abort(self, result: Result = "aborted", service: ServiceName = WEB) -> list[Order]:
        rollout, orders = ask_abort(
            self.rollout(service), result=result, reason=ASKED, now=self.now
        )
        self.conducted = replace_rollout(self.conducted, rollout)
        return orders

    def excuse(self, *hosts: str) -> None:
        named = tuple(HostName(host) for host in hosts)
        rollout, _, refusal = excuse(self.rollout(), named, "asked", self.view)
        assert not refusal, refusal
        self.conducted = replace_rollout(self.conducted, rollout)

    @property
    def view(self) -> View:
        return View(self.evidence[WEB], self.alive, self.now)

    @property
    def go(self) -> Go:
        assert self.conducted.go is not None
        return self.conducted.go

    def granted(self, phase: str, service: ServiceName = WEB) -> Grant | None:
        grants = [g for g in self.go.grants if (g.phase, g.service) == (phase, service)]
        return grants[0] if grants else None


def names(cell_plan: CellPlan) -> list[HostName]:
    return [member.host for member in cell_plan.roster.members]


def opened(cell_plan: CellPlan | None = None, *, hosts: int = 6) -> tuple[Cell, CellPlan]:
    cell = Cell(hosts)
    plan = cell_plan or a_plan(hosts=hosts)
    cell.open(plan)
    cell.tick()
    return cell, plan


def completed(hosts: int = 6) -> tuple[Cell, CellPlan]:
    cell, cell_plan = opened(hosts=hosts)
    cell.say(names(cell_plan), cell_plan.plan.plan_seq, Rank.HEALTHY, runs=NEW)
    cell.tick(1)
    return cell, cell_plan
