"""Many seeds: run them side by side, add them up, say how to replay a failure."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from p2psim.run import Verdict, run_seed

__all__ = ["Report", "collect", "summary_lines"]

TWICE_EVERY = 20  # this share of the seeds runs twice, and both traces must be equal


class SeedViolation(msgspec.Struct, frozen=True):
    seed: int
    invariant: str
    detail: str


class Spread(msgspec.Struct, frozen=True):
    """Median and maximum; 0 when there was nothing to measure."""

    p50: float
    max: float


class Report(msgspec.Struct, frozen=True):
    """What ``p2psim activation -o json`` prints."""

    seeds: int
    hosts: int
    fault_domains: int
    violations: list[SeedViolation]
    sometimes: dict[str, int]
    events_per_s: float
    halt_s: Spread
    overhead_per_fd_s: Spread

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()


def _run(seed: int, hosts: int, fault_domains: int) -> Verdict:
    verdict = run_seed(seed, hosts=hosts, fault_domains=fault_domains)
    if seed % TWICE_EVERY == 0:
        again = run_seed(seed, hosts=hosts, fault_domains=fault_domains)
        if again.trace_hash != verdict.trace_hash:
            raise AssertionError(f"seed {seed} is not deterministic")
    return verdict


def _verdicts(seeds: Sequence[int], hosts: int, fault_domains: int, jobs: int) -> Iterator[Verdict]:
    work = partial(_run, hosts=hosts, fault_domains=fault_domains)
    jobs = min(jobs or os.cpu_count() or 1, len(seeds))
    if jobs == 1:
        yield from map(work, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(work, seeds)


def collect(
    seeds: Sequence[int], *, hosts: int, fault_domains: int, jobs: int, progress: bool
) -> Report:
    """Run every seed and add the verdicts up; progress goes to stderr."""
    violations: list[SeedViolation] = []
    sometimes: dict[str, int] = {}
    halts: list[float] = []
    overheads: list[float] = []
    events, busy_s = 0, 0.0
    for done, verdict in enumerate(_verdicts(seeds, hosts, fault_domains, jobs), 1):
        violations += [
            SeedViolation(verdict.seed, v.invariant, v.detail) for v in verdict.violations
        ]
        for name, count in verdict.sometimes.items():
            sometimes[name] = sometimes.get(name, 0) + count
        halts += verdict.halt_s
        overheads += verdict.overhead_per_fd_s
        events += verdict.events
        busy_s += verdict.wall_s
        if progress and sys.stderr.isatty():
            sys.stderr.write(f"\r{done}/{len(seeds)} seeds, {len(violations)} violations ")
    return Report(
        seeds=len(seeds),
        hosts=hosts,
        fault_domains=fault_domains,
        violations=violations,
        sometimes=dict(sorted(sometimes.items())),
        events_per_s=round(events / busy_s, 1) if busy_s else 0.0,
        halt_s=_spread(halts),
        overhead_per_fd_s=_spread(overheads),
    )


def _spread(values: list[float]) -> Spread:
    if not values:
        return Spread(0.0, 0.0)
    ordered = sorted(values)
    return Spread(ordered[len(ordered) // 2], ordered[-1])


def summary_lines(report: Report) -> list[str]:
    """The report for people; a violation comes with the command that replays it."""
    lines = [
        f"{report.seeds} seeds, {report.hosts} hosts in {report.fault_domains} fault domains: "
        f"{len(report.violations)} violations, {report.events_per_s:,.0f} events/s",
        f"halt after abort: median {report.halt_s.p50:g} s, longest {report.halt_s.max:g} s",
        f"overhead per fault domain: median {report.overhead_per_fd_s.p50:g} s, "
        f"longest {report.overhead_per_fd_s.max:g} s",
    ]
    lines += [f"  sometimes {name}: {count}" for name, count in report.sometimes.items()]
    for violation in report.violations[:20]:
        lines.append(f"{violation.invariant} in seed {violation.seed}: {violation.detail}")
        lines.append(
            f"  p2psim replay --hosts {report.hosts} --fds {report.fault_domains} "
            f"--seed {violation.seed} --trace"
        )
    return lines
