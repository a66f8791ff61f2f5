"""Whole worlds: clean, repeatable, and full of faults that bite."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from p2psim.options import draw_options, rng_for
from p2psim.report import Report, collect, summary_lines
from p2psim.run import run_seed

SEEDS = range(12)
HOSTS, FAULT_DOMAINS = 6, 3
CALM_SEED = 12  # a world of one service without faults

_PRINT_HASH = """
from p2psim.run import run_seed
print(run_seed({seed}, hosts={hosts}, fault_domains={domains}).trace_hash)
"""


@pytest.fixture(scope="module")
def report() -> Report:
    return collect(SEEDS, hosts=HOSTS, fault_domains=FAULT_DOMAINS, jobs=1, progress=False)


@pytest.mark.slow
def test_twelve_worlds_keep_every_invariant(report: Report) -> None:
    assert report.violations == []
    assert report.seeds == len(SEEDS)


@pytest.mark.slow
def test_coordination_costs_less_than_three_seconds_per_fault_domain() -> None:
    overheads = run_seed(CALM_SEED, hosts=HOSTS, fault_domains=FAULT_DOMAINS).overhead_per_fd_s
    assert len(overheads) == FAULT_DOMAINS - 1
    assert all(0 < overhead <= 3.0 for overhead in overheads)


@pytest.mark.slow
def test_the_worlds_are_eventful(report: Report) -> None:
    for situation in ("a rollout went back", "a service regressed", "a host failed a plan"):
        assert report.sometimes[situation] > 0, situation


@pytest.mark.soak
def test_every_fault_and_rule_bites_in_two_hundred_worlds() -> None:
    # The last is the one of many hundred in which a plan is opened while a late host catches up.
    report = collect([*range(200), 542], hosts=12, fault_domains=3, jobs=0, progress=False)
    assert [name for name, count in report.sometimes.items() if not count] == []
    assert report.violations == []


@pytest.mark.slow
def test_a_seed_replays_exactly() -> None:
    first, second = (run_seed(5, hosts=HOSTS, fault_domains=FAULT_DOMAINS) for _ in range(2))
    assert first.trace_hash == second.trace_hash
    assert first.events == second.events
    assert first.sometimes == second.sometimes


@pytest.mark.slow
@pytest.mark.processes
def test_a_seed_replays_exactly_whatever_the_order_of_hashes() -> None:
    script = _PRINT_HASH.format(seed=6, hosts=6, domains=3)
    hashes = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "4242")
    }
    assert len(hashes) == 1
    assert hashes == {f"{run_seed(6, hosts=6, fault_domains=3).trace_hash}\n"}


@pytest.mark.slow
def test_another_seed_is_another_world() -> None:
    verdicts = [run_seed(seed, hosts=2, fault_domains=2) for seed in (1, 2)]
    assert verdicts[0].trace_hash != verdicts[1].trace_hash


@pytest.mark.slow
def test_the_trace_tells_what_happened() -> None:
    lines: list[str] = []
    run_seed(0, hosts=4, fault_domains=2, trace=lines.append)
    assert "options" in lines[0]
    for words in ("operator applies web 1", "control issues Plan", "attests web plan", "healed"):
        assert any(words in line for line in lines), words


def test_one_more_draw_for_one_purpose_moves_no_other() -> None:
    assert rng_for(1, "h1", "gossip").random() != rng_for(1, "h1", "process").random()
    assert draw_options(7, hosts=6, fault_domains=3) == draw_options(7, hosts=6, fault_domains=3)


@pytest.mark.slow
def test_a_report_says_how_to_replay_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_holds(*_: object) -> None: ...

    monkeypatch.setattr("p2pdeploy.activation.rules.evidence_hold", nothing_holds)
    report = collect(range(1), hosts=6, fault_domains=3, jobs=1, progress=False)
    text = "\n".join(summary_lines(report))
    assert "p2psim replay --hosts 6 --fds 3 --seed 0 --trace" in text
    assert {violation.seed for violation in report.violations} == {0}
