"""Keys of orders are rotated under a rollout that runs: nobody is lost, nothing halts.

Two minutes of waiting for steps, so it is a soak test; ``test_standing.py`` rotates with real hosts
in every run.
"""

from __future__ import annotations

import pytest

from p2pdeploy.trust.host_identity import load_known_orders
from tests.integration.fleet import CONTROL_PLANE, Fleet
from tests.integration.monitor import watch_service
from tests.integration.payloads import Publish
from tests.integration.waiting import wait_for

pytestmark = [
    pytest.mark.processes,
    pytest.mark.soak,
    pytest.mark.usefixtures("deployed"),
]

STEP_S = 15  # the least there is
ROLES = ("go", "deployer", "abort")


def _keys(fleet: Fleet) -> dict[str, dict[str, object]]:
    return {key["role"]: key for key in fleet.ok("keys", "status")}


def test_go_and_deployer_are_rotated_under_a_rollout(fleet: Fleet, publish: Publish) -> None:
    toml = fleet.folder / "tracker.toml"
    toml.write_text(f"{toml.read_text()}\nkey_step_s = {STEP_S}\n")
    fleet.restart(CONTROL_PLANE)
    fleet.restart(*fleet.names())  # they learn at their start how often to ask
    before = _keys(fleet)
    publish("2.0.0", bake_s=20)
    with watch_service(fleet, "web") as seen:
        rollout = fleet.apply("web", "2.0.0")
        for role in ROLES:
            assert fleet.ok("keys", "rotate", role)["state"] == "announced"
        wait_for(
            lambda: all(_keys(fleet)[role]["state"] == "done" for role in ROLES),
            "the rotations to end",
            timeout_s=6 * STEP_S,
        )
        assert fleet.rollout(rollout)["state"] == "running", "they ended under it"
        fleet.restart("h06")  # it knows no order any more, and gets them sealed with the new keys
        done = fleet.finish(rollout)
    assert [(d["total"], d["healthy"]) for d in done["fault_domains"]] == [(2, 2)] * 3
    assert all(len(domains) <= 1 for domains in seen.down_together()), seen.down_together()
    after = _keys(fleet)
    for role in ROLES:
        assert set(after[role]["key_ids"]).isdisjoint(before[role]["key_ids"])  # pyright: ignore[reportArgumentType]
    for host in fleet.names():
        known = load_known_orders(fleet.folder / "hosts" / host / "identity")
        assert all(len(known.orders.roles[role].public_keys) == 1 for role in ROLES)
    publish("2.0.1")
    fleet.roll_out("web", "2.0.1")
