"""A fleet in which two of three people approve each rollout: real processes, key to service."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.command_line import P2PCTL
from tests.integration.fleet import CONTROL_PLANE, Fleet, running_fleet
from tests.integration.payloads import write_payload

pytestmark = pytest.mark.processes

PEOPLE = ("ann", "bob", "cem")
STEP_S = 15  # the least there is: the old key is gone after it, and hosts ask every 5 s


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where each of the three has a key, and a stranger."""
    folder = tmp_path_factory.mktemp("keys")
    for name in (*PEOPLE, "eve"):
        made = subprocess.run([P2PCTL, "keys", "generate", folder / name], check=False)
        assert made.returncode == 0, name
    return folder


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Fleet]:
    """Three hosts, whose control plane gave the approval of rollouts to the three people."""
    with running_fleet(tmp_path_factory.mktemp("fleet") / "dir", 3, 3) as running:
        toml = running.folder / "tracker.toml"
        toml.write_text(f"{toml.read_text()}\nkey_step_s = {STEP_S}\n")
        running.restart(CONTROL_PLANE)
        running.restart(*running.names())  # they learn at their start how often to ask
        shutil.copy(running.folder / "trust" / "keys" / "rollout.key", keys / "own")
        publics = [word for name in PEOPLE for word in ("--public", keys / f"{name}.pub")]
        running.ok("keys", "rotate", "rollout", *publics, "--threshold", "2")
        yield running


def sign(fleet: Fleet, rollout: str, key: Path) -> tuple[object, ...]:
    return ("rollout", "sign", rollout, "--key", key, "-y")


def test_the_second_signature_starts_it_and_the_first_does_not(
    fleet: Fleet, keys: Path, tmp_path: Path
) -> None:
    fleet.publish("web", "1", write_payload(tmp_path / "tree", "web", note="1"))
    rollout = fleet.apply("web", "1")
    assert fleet.rollout(rollout)["state"] == "unsigned"
    assert fleet.refused(*sign(fleet, rollout, keys / "eve"))["code"] == "not-a-signer"
    assert fleet.refused(*sign(fleet, rollout, keys / "own"))["code"] == "not-a-signer"
    first = fleet.ok(*sign(fleet, rollout, keys / "ann"))
    assert (first["state"], first["reasons"][0]["message"][:6]) == ("unsigned", "1 of 2")
    waited = fleet.ctl("rollout", "status", rollout, "--timeout", "3s")
    assert (waited.code, waited.document["state"]) == (2, "unsigned")
    assert "1 of 2 signatures" in waited.err + waited.document["reasons"][0]["message"]
    assert not any(fleet.all_serve("web").values()), "its bytes may come; nothing starts"

    watching = fleet.command("rollout", "status", rollout, "--timeout", "150s")
    with subprocess.Popen(watching, stdout=subprocess.PIPE, text=True) as status:
        signed = fleet.ctl(*sign(fleet, rollout, keys / "cem"))
        out, _ = status.communicate(timeout=170)
    assert signed.document["state"] in ("running", "planned"), signed
    release = fleet.ok("release", "show", "web", "1")
    assert release["manifest_digest"] in signed.err, "what was signed was shown"
    assert "Signed by its publishers:  yes" in signed.err
    assert (status.returncode, json.loads(out)["state"]) == (0, "complete")
    fleet.wait_all_serve("web", "1")


def test_what_is_given_up_before_it_is_signed_leaves_everything_as_it_is(
    fleet: Fleet, keys: Path, tmp_path: Path
) -> None:
    fleet.publish("web", "2", write_payload(tmp_path / "tree", "web", note="2"))
    rollout = fleet.apply("web", "2")
    fleet.ok(*sign(fleet, rollout, keys / "bob"))
    second = fleet.refused("rollout", "apply", "web", "1", "--env", "lab", "--mf", "web")
    assert second["code"] == "rollout-under-way"
    fleet.restart(CONTROL_PLANE)
    assert fleet.rollout(rollout)["reasons"][0]["message"][:6] == "1 of 2"
    assert fleet.ok("rollout", "abort", rollout)["state"] == "aborted"
    late = fleet.refused(*sign(fleet, rollout, keys / "ann"))
    assert late["code"] == "not-unsigned"
    fleet.wait_all_serve("web", "1")
