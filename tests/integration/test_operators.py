"""What operators ask of a rollout, what is refused, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.fleet import Fleet
from tests.integration.monitor import watch_service
from tests.integration.payloads import Publish, write_payload
from tests.integration.schemas import check_document
from tests.integration.waiting import wait_for

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("deployed")]

TARGET = ("--env", "lab", "--mf", "web")


def test_documents_are_as_described_and_stdout_holds_nothing_else(fleet: Fleet) -> None:
    for arguments in (
        ("hosts",),
        ("fleet", "versions", "web"),
        ("fleet", "where", "web", "1"),
        ("release", "show", "web", "1"),
        ("release", "list", "web"),
        ("rollout", "get", "latest"),
        ("rollout", "history"),
        ("rollout", "why", "latest"),
        ("rollout", "plan", "web", "1", *TARGET),
    ):
        done = fleet.ctl(*arguments)  # holds it against its schema
        assert done.code == 0, done
        assert len(done.out.splitlines()) == 1
    host = fleet.ok("hosts", "--filter", "name=h03")[0]
    assert (host["environment"], host["machine_function"]) == ("lab", "web")
    (service,) = host["services"]
    assert (service["service"], service["version"], service["state"]) == ("web", "1", "healthy")
    assert service["address"] == f"{host['address']}:{fleet.port('h03', 'web')}"
    assert fleet.ok("fleet", "versions", "web") == {
        "service": "web",
        "versions": {"1": 6},
        "unknown": 0,
    }
    where = fleet.ok("fleet", "where", "web", "1")
    assert [row["host"] for row in where] == fleet.names()


def test_logs_of_a_service_are_read_from_its_host(fleet: Fleet) -> None:
    word = fleet.serves("h02", "web")
    assert word is not None
    assert any(str(word.pid) in line for line in fleet.ok("logs", "h02", "web")["lines"])
    assert fleet.refused("logs", "h02", "nothing")["code"]
    assert fleet.refused("logs", "h99", "web")["code"]


def test_plan_exits_0_without_changes_2_with_and_1_on_errors(
    fleet: Fleet, publish: Publish
) -> None:
    publish("1.1")
    assert fleet.ctl("rollout", "plan", "web", "1", *TARGET).document["changes"] == 0
    changes = fleet.ctl("rollout", "plan", "web", "1.1", *TARGET)
    assert changes.code == 2
    assert changes.document["changes"] == 6
    assert fleet.refused("rollout", "plan", "web", "9", *TARGET)["code"] == "no-release"
    again = fleet.ctl("rollout", "plan", "web", "1.1", *TARGET)
    assert again.document["check_index"] == changes.document["check_index"]
    stale = ("rollout", "apply", "web", "1.1", *TARGET, "--check-index", "0123456789ab")
    assert fleet.refused(*stale)["code"] == "check-index"
    done = fleet.roll_out("web", "1.1", "--check-index", _index_with_settle(fleet))
    assert done["version"] == "1.1"


def _index_with_settle(fleet: Fleet) -> str:
    """The check-index of the plan that ``Fleet.apply`` asks for."""
    planned = fleet.ctl("rollout", "plan", "web", "1.1", *TARGET, "--settle", "200ms")
    return planned.document["check_index"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("apply", "web", "9", *TARGET), 1, "no-release"),
        (("apply", "nothing", "1", *TARGET), 1, "no-release"),
        (("apply", "web", "1"), 2, "usage"),
        (("apply", "web", "1", "--env", "lab"), 2, "usage"),
        (("apply", "web", "1", "--env", "lab", "--mf", "db"), 1, "empty-target"),
        (("get", "web-99"), 1, "no-rollout"),
        (("status", "web-99", "--timeout", "1s"), 1, "no-rollout"),
        (("pause", "web-1"), 1, "wrong-state"),
        (("resume", "web-1"), 1, "wrong-state"),
        (("abort", "web-1"), 1, "wrong-state"),
        (("excuse", "web-1", "h01", "--reason", "none"), 1, "not-running"),
    ],
)
def test_what_cannot_be_is_refused(
    fleet: Fleet, arguments: tuple[str, ...], exit_code: int, code: str
) -> None:
    before = fleet.all_serve("web")
    assert fleet.refused("rollout", *arguments, code=exit_code)["code"] == code
    assert fleet.all_serve("web") == before


@pytest.mark.parametrize(
    ("text", "line", "code"),
    [
        ("h01\nh99\n", 2, "unknown-host"),
        ("h01\n# spare\nnot a name\n", 3, "bad-name"),
        ("h01\nh02\nh01\n", 3, "duplicate-target"),
        ("# nobody\n", 0, "empty-target"),
    ],
)
def test_a_faulty_targets_file_is_refused_by_file_and_line(
    fleet: Fleet, tmp_path: Path, text: str, line: int, code: str
) -> None:
    path = tmp_path / "targets"
    path.write_text(text)
    done = fleet.ctl("rollout", "apply", "web", "1", "--targets", path)
    assert done.code in (1, 2), done
    error = done.document["error"]
    assert error["code"] == code, error
    assert error["where"] == (f"{path}:{line}" if line else str(path)), error


def test_a_targets_file_bounds_the_rollout(fleet: Fleet, publish: Publish, tmp_path: Path) -> None:
    publish("1.2")
    before = fleet.all_serve("web")
    path = tmp_path / "targets"
    path.write_text("h04  # one of fd1\nh05\n")
    done = fleet.roll_out("web", "1.2", "--targets", path)
    assert {d["name"]: d["total"] for d in done["fault_domains"]} == {"fd1": 1, "fd2": 1}
    after = fleet.all_serve("web")
    assert {host for host in fleet.names() if after[host] != before[host]} == {"h04", "h05"}
    fleet.roll_out("web", "1.2")
    assert fleet.versions("web") == {"1.2"}


def test_a_paused_rollout_waits_and_resumes_and_a_second_one_is_refused(
    fleet: Fleet, publish: Publish, gate: Path
) -> None:
    publish("2", mode="gated", gate=gate, start_timeout_s=60)
    rollout = fleet.apply("web", "2")
    fleet.wait_begun("h01", "web", "2")
    second = fleet.refused("rollout", "apply", "web", "1", *TARGET)
    assert second["code"] == "rollout-under-way"
    assert rollout in second["message"]

    paused = fleet.ok("rollout", "pause", rollout)
    assert paused["state"] == "paused"
    timed_out = fleet.ctl("rollout", "status", rollout, "--timeout", "500ms")
    assert (timed_out.code, timed_out.document["state"]) == (2, "paused")
    wait_for(
        lambda: fleet.rollout(rollout)["reasons"],
        "it says why",
        until=lambda reasons: reasons[0]["code"] == "paused",
    )
    gate.touch()  # what began goes on to its end
    fleet.wait_state("h01", "web", "healthy")
    # Longer than the settle and a look of every part: a rollout that goes on would show it.
    assert fleet.ctl("rollout", "status", rollout, "--timeout", "3s").code == 2
    view = fleet.rollout(rollout)
    assert [d["healthy"] for d in view["fault_domains"]] == [1, 0, 0], view

    assert fleet.ok("rollout", "resume", rollout)["state"] == "running"
    assert fleet.finish(rollout)["reasons"] == []
    assert fleet.versions("web") == {"2"}


def test_an_aborted_rollout_brings_back_what_switched_and_touches_nothing_else(
    fleet: Fleet, publish: Publish, gate: Path
) -> None:
    before = fleet.all_serve("web")
    publish("3", mode="gated", gate=gate, start_timeout_s=6)
    rollout = fleet.apply("web", "3")
    fleet.wait_begun("h01", "web", "3")
    assert fleet.ok("rollout", "abort", rollout)["state"] == "rolling-back"
    done = fleet.finish(rollout, "aborted")
    assert done["reasons"][0]["code"] == "operator"
    after = fleet.all_serve("web")
    assert fleet.versions("web") == {"2"}
    assert {host for host in fleet.names() if after[host] != before[host]} == {"h01"}


def test_a_complete_rollout_is_reverted_within_max_unavailable(
    fleet: Fleet, publish: Publish
) -> None:
    before = fleet.ok("rollout", "history", "web")
    publish("4")
    done = fleet.roll_out("web", "4")
    complete = next(r["id"] for r in before if r["state"] == "complete")
    assert fleet.refused("rollout", "revert", complete)["code"] == "superseded"
    unavailable_max = 2
    with watch_service(fleet, "web") as seen:
        fleet.ok("rollout", "revert", done["id"])
        fleet.finish(done["id"], "rolled-back")
    assert fleet.versions("web") == {"2"}
    assert 1 <= seen.down_at_once_max() <= unavailable_max
    assert fleet.refused("rollout", "revert", done["id"])["code"] == "wrong-state"


def test_get_w_prints_a_document_per_change_and_ends_with_the_final_one(
    fleet: Fleet, publish: Publish
) -> None:
    publish("5")
    rollout = fleet.apply("web", "5")
    run = subprocess.run(
        fleet.command("rollout", "get", rollout, "-w"),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    views = [json.loads(line) for line in run.stdout.splitlines()]
    for view in views:
        check_document("rollout", view)
    assert len(views) > 3
    assert [view["state"] for view in views] == ["running"] * (len(views) - 1) + ["complete"]
    assert all(view["reasons"] for view in views[:-1]), "what is not final carries a reason"
    healthy = [sum(d["healthy"] for d in view["fault_domains"]) for view in views]
    assert healthy == sorted(healthy), "the count of a rollout that goes well only rises"


def test_two_services_roll_out_at_once_and_share_no_fault(
    fleet: Fleet, publish: Publish, tmp_path: Path
) -> None:
    fleet.publish("side", "1", write_payload(tmp_path / "side", "side"))
    publish("6")
    with watch_service(fleet, "web") as seen:
        web, side = fleet.apply("web", "6"), fleet.apply("side", "1")
        assert fleet.rollout(web)["state"] == "running"
        fleet.finish(web)
        fleet.finish(side)
    assert fleet.versions("web") == {"6"}
    assert fleet.versions("side") == {"1"}
    assert all(len(domains) <= 1 for domains in seen.down_together()), seen.down_together()


def test_a_lost_host_is_waited_for_until_it_is_excused(
    fleet: Fleet, publish: Publish, gate: Path
) -> None:
    publish("7", mode="gated", gate=gate, start_timeout_s=60)
    strict = fleet.apply("web", "7")
    fleet.wait_begun("h01", "web", "7")
    too_many = fleet.refused("rollout", "excuse", strict, "h06", "--reason", "in repair")
    assert too_many["code"] == "too-many-excused"
    fleet.ok("rollout", "abort", strict)
    gate.touch()
    fleet.finish(strict, "aborted")
    assert fleet.versions("web") == {"6"}

    gate.unlink()
    rollout = fleet.apply("web", "7", "--failure-fraction", "0.5")
    fleet.wait_begun("h01", "web", "7")
    fleet.kill("h06")
    fleet.wait_lost("h06")
    gate.touch()

    def waits_for_h06(view: dict[str, Any]) -> bool:
        healthy = [d["healthy"] for d in view["fault_domains"]]
        return healthy == [2, 2, 1] and view["reasons"][0]["code"] == "host-unreachable"

    wait_for(
        lambda: fleet.rollout(rollout), "everybody else is done and h06 is named", waits_for_h06
    )
    assert "h06" in fleet.ok("rollout", "why", rollout)[0]["message"]
    fleet.ok("rollout", "excuse", rollout, "h06", "--reason", "in repair")
    fleet.finish(rollout)
    fleet.start("h06")
    fleet.wait_serves("h06", "web", "7")
    assert fleet.versions("web") == {"7"}
