"""Good versions move fault domain by fault domain; bad ones stop in the first and go back."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.integration.fleet import Fleet
from tests.integration.monitor import watch_service
from tests.integration.payloads import Mode, Publish, write_payload

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("deployed")]

FIRST, REST = ("h01", "h02"), ("h03", "h04", "h05", "h06")


def test_an_upgrade_takes_down_one_fault_domain_at_a_time(fleet: Fleet, publish: Publish) -> None:
    publish("1.1.0")
    target = ("--env", "lab", "--mf", "web")
    planned = fleet.ctl("rollout", "plan", "web", "1.1.0", *target)
    assert planned.code == 2, planned
    with watch_service(fleet, "web") as seen:
        done = fleet.roll_out("web", "1.1.0")
    assert all(len(domains) <= 1 for domains in seen.down_together()), seen.down_together()
    assert 1 <= seen.down_at_once_max() <= planned.document["max_unavailable"]
    ends = [(d["started_at"], d["finished_at"]) for d in done["fault_domains"]]
    assert [d["name"] for d in done["fault_domains"]] == ["fd0", "fd1", "fd2"]
    assert all(left[1] <= right[0] for left, right in pairwise(ends)), ends
    assert [(d["total"], d["healthy"]) for d in done["fault_domains"]] == [(2, 2)] * 3
    for host, word in fleet.all_serve("web").items():
        assert word is not None
        assert word.version == "1.1.0"
        assert ["1", "1.1.0"][: len(seen.versions(host))] == seen.versions(host)
        assert len(seen.pids(host)) <= 2, "each host's service is restarted once"
    assert fleet.ok("fleet", "versions", "web") == {
        "service": "web",
        "versions": {"1.1.0": 6},
        "unknown": 0,
    }


@pytest.mark.parametrize(
    ("mode", "code"),
    [("exits", "exited"), ("unhealthy", "never-healthy"), ("dies", "bake-failed")],
)
def test_a_bad_version_goes_back_in_the_first_fault_domain(
    fleet: Fleet, publish: Publish, mode: Mode, code: str
) -> None:
    version = f"2.0.0-{mode}"
    publish(version, mode=mode, start_timeout_s=4, bake_s=4)
    before = fleet.all_serve("web")
    with watch_service(fleet, "web") as seen:
        rollout = fleet.apply("web", version)
        done = fleet.finish(rollout, "rolled-back")
    after = fleet.all_serve("web")
    (reason,) = done["reasons"]
    assert reason["host"] in FIRST
    assert reason["fault_domain"] == "fd0"
    assert reason["code"] == code, reason
    assert all(len(domains) <= 1 for domains in seen.down_together()), seen.down_together()
    for host in REST:
        assert seen.was_never_down(host)
        assert seen.pids(host) == {before[host].pid}  # pyright: ignore[reportOptionalMemberAccess]
    old = {word.version for word in before.values() if word}
    assert {word and word.version for word in after.values()} == old
    why = fleet.ok("rollout", "why", rollout)
    assert why[0]["code"] == reason["code"]


def test_a_bad_version_beside_a_good_one_leaves_the_other_service_alone(
    fleet: Fleet, publish: Publish, tmp_path: Path
) -> None:
    fleet.publish("side", "1", write_payload(tmp_path / "side", "side"))
    fleet.roll_out("side", "1")
    before = fleet.all_serve("side")
    assert all(before.values())
    publish("3.0.0-bad", mode="exits", start_timeout_s=4)
    fleet.finish(fleet.apply("web", "3.0.0-bad"), "rolled-back")
    assert fleet.all_serve("side") == before
    ports = {(fleet.port(h, "side"), fleet.port(h, "web")) for h in fleet.names()}
    assert all(side != web for side, web in ports)


def test_files_with_the_same_bytes_reach_every_host_and_may_part_later(
    fleet: Fleet, tmp_path: Path
) -> None:
    tree = write_payload(tmp_path / "copies", "copies", data_bytes=3 * 2**20 + 5)
    for copy in ("copy", "other copy"):
        (tree / copy).write_bytes((tree / "data").read_bytes())
    for version in ("1", "2"):
        fleet.publish("copies", version, tree)
        fleet.roll_out("copies", version)
        for host in fleet.names():
            current = fleet.state(host) / "services" / "copies" / "current"
            for name in ("data", "copy", "other copy"):
                assert (current / name).read_bytes() == (tree / name).read_bytes(), (host, name)
        (tree / "copy").write_bytes(b"its own" + (tree / "copy").read_bytes())


def test_a_first_deployment_that_fails_ends_absent(fleet: Fleet, tmp_path: Path) -> None:
    tree = write_payload(tmp_path / "new", "new", mode="exits", start_timeout_s=4)
    fleet.publish("new", "1.0.0", tree)
    done = fleet.finish(fleet.apply("new", "1.0.0"), "rolled-back")
    assert done["reasons"][0]["host"] in FIRST
    for host in fleet.names():
        entry = fleet.service(host, "new")
        assert entry is None or (entry["state"], entry["version"]) == ("absent", ""), entry
        assert not (fleet.state(host) / "services" / "new" / "current").is_symlink()
        assert fleet.serves(host, "new") is None
    assert fleet.ok("fleet", "where", "new", "1.0.0") == []


def test_a_failed_rollout_to_named_hosts_leaves_the_service_where_it_was_and_nowhere_else(
    fleet: Fleet, tmp_path: Path
) -> None:
    def publish(version: str, mode: Mode) -> None:
        tree = write_payload(
            tmp_path / version, "named", note=version, mode=mode, start_timeout_s=2
        )
        fleet.publish("named", version, tree)

    one, three = tmp_path / "one", tmp_path / "three"
    one.write_text("h02\n")
    three.write_text("h02\nh03\nh04\n")
    publish("1", "serves")
    publish("2", "exits")
    fleet.roll_out("named", "1", "--targets", one)
    fleet.finish(fleet.apply("named", "2", "--targets", three), "rolled-back")
    where = fleet.ok("fleet", "where", "named", "1")
    assert [row["host"] for row in where] == ["h02"]
    served = {host: word and word.version for host, word in fleet.all_serve("named").items()}
    assert {host: version for host, version in served.items() if version} == {"h02": "1"}
