"""People take ROLLOUTs over in a fleet where much stands already: real processes, end to end."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.command_line import P2PCTL
from tests.integration.fleet import CONTROL_PLANE, Fleet
from tests.integration.payloads import Publish
from tests.integration.waiting import wait_for

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("deployed")]

STEP_S = 15  # the least there is


def _rollout_keys(fleet: Fleet) -> dict[str, object]:
    return next(key for key in fleet.ok("keys", "status") if key["role"] == "rollout")


def test_what_stood_before_people_took_over_outlives_the_old_key(
    fleet: Fleet, publish: Publish, tmp_path: Path
) -> None:
    toml = fleet.folder / "tracker.toml"
    toml.write_text(f"{toml.read_text()}\nkey_step_s = {STEP_S}\n")
    fleet.restart(CONTROL_PLANE)
    fleet.restart(*fleet.names())  # they learn at their start how often to ask
    publish("2")
    rollout = fleet.apply("web", "2")
    fleet.finish(rollout)

    people: list[Path] = []
    for name in ("ann", "bob"):
        people.append(tmp_path / name)
        subprocess.run([P2PCTL, "keys", "generate", people[-1]], check=True)
    publics = [word for key in people for word in ("--public", key.with_name(f"{key.name}.pub"))]
    begun = fleet.ok("keys", "rotate", "rollout", *publics, "--threshold", "2")
    assert begun["unsigned_rollouts"] == [rollout]

    for key in people:
        assert _rollout_keys(fleet)["unsigned_rollouts"] == [rollout]
        signed = fleet.ctl("rollout", "sign", "--standing", "--key", key, "-y")
        assert (signed.code, len(signed.document)) == (0, 1), signed
        assert "keys that count approved it" in signed.err
        fleet.restart(CONTROL_PLANE)
    assert _rollout_keys(fleet)["unsigned_rollouts"] == []
    wait_for(
        lambda: _rollout_keys(fleet),
        "the old key counts no more",
        until=lambda keys: keys["state"] == "done",
        timeout_s=4 * STEP_S,
    )

    wiped = fleet.names()[0]
    fleet.reboot(wiped)
    shutil.rmtree(fleet.state(wiped))
    fleet.start(wiped)
    fleet.wait_serves(wiped, "web", "2")

    fleet.kill(*fleet.names())
    fleet.restart(CONTROL_PLANE)
    fleet.start(*fleet.names())
    fleet.ok("rollout", "revert", rollout)
    fleet.finish(rollout, "rolled-back")
    fleet.wait_all_serve("web", "1")
