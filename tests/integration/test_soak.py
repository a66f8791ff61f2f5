"""The long runs: kills at random moments of many rollouts, and the whole demo."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from p2pctl.polling import poll
from tests.integration.command_line import P2PCTL
from tests.integration.fleet import CONTROL_PLANE, Fleet
from tests.integration.monitor import watch_service
from tests.integration.payloads import write_payload
from tests.integration.schemas import check_document

pytestmark = [pytest.mark.processes, pytest.mark.soak]

ROLLOUTS = 8
KILLS_PER_ROLLOUT = 3
KILL_WITHIN_S = 12.0  # about as long as a rollout takes
FINAL = {"complete", "rolled-back", "failed", "aborted"}


@pytest.fixture(scope="module", autouse=True)
def _deployed(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> None:
    _publish(fleet, tmp_path_factory.mktemp("payload"), 0)
    fleet.roll_out("web", "0")


def _publish(fleet: Fleet, folder: Path, number: int) -> None:
    """Large enough that a kill may come while it is fetched."""
    write_payload(folder, "web", note=str(number), data_bytes=16_000_000 + number)
    fleet.publish("web", str(number), folder)


@pytest.mark.parametrize("number", range(1, ROLLOUTS + 1))
def test_kills_at_random_moments_never_cost_more_than_the_plan_allows(
    fleet: Fleet, tmp_path: Path, number: int
) -> None:
    _publish(fleet, tmp_path, number)
    with watch_service(fleet, "web") as seen:
        rollout = fleet.apply("web", str(number))
        _kill_at_random(fleet, rollout, random.Random(number))
        fleet.finish(rollout)
    assert fleet.versions("web") == {str(number)}
    assert all(len(domains) <= 1 for domains in seen.down_together()), seen.down_together()
    # Once for the plan, once more where a kill cut a start off.
    assert all(len(seen.pids(host)) <= 3 for host in fleet.names())
    fleet.wait_reported("web", {str(number): 6})


def _kill_at_random(fleet: Fleet, rollout: str, rng: random.Random) -> None:
    moments = sorted(rng.uniform(0, KILL_WITHIN_S) for _ in range(KILLS_PER_ROLLOUT))
    for passed in poll(KILL_WITHIN_S * 5, 0.05):
        if passed >= moments[0]:
            fleet.restart(rng.choice([*fleet.names(), CONTROL_PLANE]))
            del moments[0]
        if not moments or fleet.rollout(rollout)["state"] in FINAL:
            return


def test_the_demo_tells_the_truth(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "dir")
    words = [str(P2PCTL), "demo", "-o", "json", "--dir", str(fleet.folder)]
    run = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    document = json.loads(run.stdout)
    check_document("demo", document)
    assert document["ok"] is True
    outcomes = [(r["version"], r["outcome"]) for r in document["rollouts"]]
    assert outcomes == [("1.0.0", "complete"), ("1.1.0", "complete"), ("1.2.0", "rolled-back")]
    assert set(document["served_versions"].values()) == {"1.1.0"}
    assert fleet.left_over() == {}
