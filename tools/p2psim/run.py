"""One seed from start to verdict."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from p2pdeploy.ids import HostName, ServiceName
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.planning.conducted import latest
from p2psim.ledger import Violation
from p2psim.options import draw_options
from p2psim.scenario import Scenario, build_of
from p2psim.world import World

__all__ = ["Verdict", "run_seed"]


class Verdict(msgspec.Struct, frozen=True):
    """What one world showed.  Times in simulated seconds, but ``wall_s``."""

    seed: int
    violations: list[Violation]
    sometimes: dict[str, int]
    events: int
    wall_s: float
    trace_hash: str
    halt_s: list[float]  # per abort: from its issue to the last start after it
    overhead_per_fd_s: list[float]  # of worlds without faults: beyond change, bake and settle


def run_seed(
    seed: int, *, hosts: int, fault_domains: int, trace: Callable[[str], None] | None = None
) -> Verdict:
    """Run the world of *seed*; the same arguments always give the same verdict but ``wall_s``."""
    began = time.perf_counter()
    options = draw_options(seed, hosts=hosts, fault_domains=fault_domains)
    world = World(trace=trace)
    world.note(f"options {options}")
    scenario = Scenario(options, world)
    scenario.start()
    world.run_until(options.faults_until_s)
    world.run_until(options.faults_until_s + options.heal_s, stop=lambda: _at_rest(scenario))
    _judge_liveness(scenario)
    return Verdict(
        seed=seed,
        violations=scenario.truth.violations,
        sometimes=dict(sorted(scenario.truth.sometimes.items())),
        events=world.events,
        wall_s=time.perf_counter() - began,
        trace_hash=world.trace_hash(),
        halt_s=_halts(scenario),
        overhead_per_fd_s=_overheads(scenario),
    )


def _at_rest(scenario: Scenario) -> bool:
    """Every rollout was applied and has ended, and every host runs what settled."""
    for service in scenario.services:
        entry = latest(scenario.control.conducted, service)
        if not scenario.wanted(service) or entry is None or entry.rollout.phase != "done":
            return False
        if _laggards(scenario, service):
            return False
    return True


def _laggards(scenario: Scenario, service: ServiceName) -> list[HostName]:
    """Hosts that don't run what settled, but for those that tried and failed."""
    settled = scenario.control.conducted.settled.get(service)
    if settled is None:
        return sorted(scenario.hosts)
    behind: list[HostName] = []
    for name, host in sorted(scenario.hosts.items()):
        record = host.disk.records.get(service)
        tried = record is not None and record.outcome_seq == settled.plan_seq
        failed = tried and record is not None and record.outcome is Rank.FAILED
        if host.processes.running.get(service) != settled.build and not failed:
            behind.append(name)
    return behind


def _judge_liveness(scenario: Scenario) -> None:
    """L1, L3, L4, L5: after healing everything ends, and everybody gets there."""
    truth = scenario.truth
    for service in scenario.services:
        _judge_service(scenario, service)
    if not truth.violations and not _converged(scenario):
        scenario.world.run_until(scenario.world.now_s + 15.0)  # L1: one digest period x log N
        if not _converged(scenario):
            truth.violate("L1", "the hosts' states differ 15 s after the end")
    truth.happened("a rollout went back", any(t.started.bake_s == 0 for t in truth.touches))


def _judge_service(scenario: Scenario, service: ServiceName) -> None:
    truth = scenario.truth
    entry = latest(scenario.control.conducted, service)
    reasons = entry.rollout.reasons if entry else ()
    why = "; ".join(f"{reason.code}: {reason.message}" for reason in reasons)
    if entry is None or not scenario.wanted(service):
        truth.violate(
            "L3", f"only {scenario.applied[service]} of {service} could be applied: {why}"
        )
        return
    if entry.rollout.phase != "done":
        truth.violate("L3", f"rollout {entry.rollout_id} is {entry.rollout.phase}: {why}")
    for name in _laggards(scenario, service):
        host = scenario.hosts[name]
        hold = host.activation.why(service) if host.activation else None
        truth.violate("L4", f"{name} does not run what {service} settled on: {hold}")
    truth.happened("the last rollout completed", entry.rollout.result == "complete")


def _converged(scenario: Scenario) -> bool:
    cores = [host.gossip.core for host in scenario.hosts.values()]
    states = {core.state.summary() for core in cores if core is not None}
    return len(states) == 1


def _halts(scenario: Scenario) -> list[float]:
    truth = scenario.truth
    return [
        max(
            (
                round(t.wall_s - aborted_at, 3)
                for t in truth.touches
                if (t.service, t.started.plan_seq) == (service, plan_seq) and t.wall_s > aborted_at
            ),
            default=0.0,
        )
        for (service, plan_seq), aborted_at in sorted(truth.aborted_at.items())
    ]


def _overheads(scenario: Scenario) -> list[float]:
    """Coordination per fault domain of the first rollout, in a world of one, without faults.

    From the last start of one fault domain to the first of the next, less the slowest change
    there and the settle time: what agreement by gossip and lease costs on top.
    """
    options = scenario.options
    faults = options.crashes + options.reboots + options.pauses + options.partitions
    faults += options.control_crashes + options.unsynchronised_hosts + options.operator_pause
    if faults or options.loss or options.services > 1:
        return []
    service = scenario.services[0]
    first = build_of(service, "1")
    touches = [t for t in scenario.truth.touches if t.started.build == first]
    cell_plan = next(iter(scenario.truth.plans.values()))
    domain_of = {m.host: m.fault_domain for m in cell_plan.roster.members}
    ended = scenario.truth.ended_at
    overheads: list[float] = []
    for index in range(1, len(cell_plan.plan.fault_domains)):
        before = [
            ended[t.host, service, t.started.plan_seq]
            for t in touches
            if domain_of[t.host] == index - 1
        ]
        starts = [t.at_s for t in touches if domain_of[t.host] == index]
        if before and starts:
            overheads.append(round(min(starts) - max(before) - cell_plan.plan.settle_s, 3))
    return overheads
