"""A host whose disk is too small for the next version says so, and goes on by itself."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.fleet import Fleet, running_fleet
from tests.integration.payloads import write_payload
from tests.integration.waiting import wait_for
from tests.p2pdaemon.small_disk import small_disk
from tests.privileges import needs_root

pytestmark = [pytest.mark.processes, needs_root]

MIB = 1 << 20
DISK_MIB = 64
RELEASE_BYTES = 24 * MIB
RECOVERY_S = 10.0  # "within seconds", on a machine that is busy with other tests


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Two hosts; h01 keeps its state on a disk of its own."""
    with running_fleet(tmp_path / "dir", hosts=2, fault_domains=2) as fleet:
        fleet.kill("h01", number=signal.SIGTERM)
        state, aside = fleet.state("h01"), tmp_path / "aside"
        shutil.copytree(state, aside, symlinks=True)
        with small_disk(state, DISK_MIB):
            shutil.copytree(aside, state, symlinks=True, dirs_exist_ok=True)
            fleet.start("h01")
            yield fleet
            fleet.down()


def test_a_full_disk_is_a_state_that_ends_when_there_is_room(fleet: Fleet, tmp_path: Path) -> None:
    fleet.publish("web", "1", write_payload(tmp_path / "one", "web"))
    fleet.roll_out("web", "1")
    before = fleet.serves("h01", "web")
    large = write_payload(tmp_path / "two", "web", note="2", data_bytes=RELEASE_BYTES)
    fleet.publish("web", "2", large)
    filler = fill(fleet.state("h01"), room_bytes=RELEASE_BYTES // 2)

    rollout = fleet.apply("web", "2")
    wait_for(
        lambda: states_of(fleet, rollout),
        "h01 has no room",
        until=lambda states: states["fd0"] == {"disk-full": 1} and states["fd1"] == {"staged": 1},
    )
    for told in (
        fleet.ok("rollout", "get", rollout)["reasons"],
        fleet.ok("rollout", "why", rollout, "--host", "h01"),
    ):
        assert [r["host"] for r in told if r["code"] == "disk-full" and "needs 24." in r["message"]]
    assert fleet.service("h01", "web")["reason"].count("needs 24.") == 1
    assert 'p2pdaemon_disk_full{kind="waiting"} 1.0' in fleet.host_metrics("h01")
    [cache] = fleet.ok("cache", "show", "h01")
    assert cache["waiting"] == 1
    assert cache["needed_bytes"] > RELEASE_BYTES > cache["free_bytes"]
    assert [r["versions"] for r in cache["releases"] if r["state"] == "active"] == [["1"]]
    assert fleet.serves("h01", "web") == before, "what runs goes on"

    filler.unlink()
    wait_for(
        lambda: states_of(fleet, rollout),
        "h01 goes on by itself",
        until=lambda states: states["fd0"] != {"disk-full": 1},
        timeout_s=RECOVERY_S,
    )
    fleet.finish(rollout)
    fleet.wait_all_serve("web", "2")
    [cache] = fleet.ok("cache", "prune", "h01")
    assert cache["pruned"] == []
    assert {r["state"] for r in cache["releases"]} == {"active", "rollback"}


def states_of(fleet: Fleet, rollout: str) -> dict[str, Any]:
    return {domain["name"]: domain["states"] for domain in fleet.rollout(rollout)["fault_domains"]}


def fill(folder: Path, *, room_bytes: int) -> Path:
    """Leave only so much room on the disk of *folder*."""
    file = folder / "of-somebody-else"
    with file.open("wb") as data:
        for _ in range((shutil.disk_usage(folder).free - room_bytes) // MIB):
            data.write(bytes(MIB))
    return file
