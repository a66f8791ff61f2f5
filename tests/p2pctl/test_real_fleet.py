"""Against a real control plane and real daemons."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
from pathlib import Path

import pytest

from p2pctl.documents import UpReport
from p2pctl.lab.layout import read_hosts
from p2pctl.lab.programs import CONTROL_PLANE, find_running, programs_of
from p2pctl.lab.readiness import RunningFleet, hosts_that_answer
from p2pctl.polling import poll
from p2pdeploy.process_identity import is_alive
from tests.trust_folder import add_trust, operator_files

pytestmark = pytest.mark.processes


def test_up_writes_a_private_folder_that_names_every_listener(fleet_dir: Path) -> None:
    assert stat.S_IMODE(fleet_dir.stat().st_mode) == 0o700
    for name in ("fleet.json", "operator/operator.pem", "trust/fleet-ca.key"):
        assert stat.S_IMODE((fleet_dir / name).stat().st_mode) == 0o600
    fleet = json.loads((fleet_dir / "fleet.json").read_bytes())
    assert {"api", "announce", "hosts"} <= set(fleet)
    assert {"address", "swarm_port", "gossip_port"} <= set(fleet["hosts"]["h01"])


def test_hosts_lists_filters_and_pages(p2pctl, fleet_dir: Path) -> None:
    hosts = p2pctl("hosts", "-o", "json", "--dir", fleet_dir).document()
    assert [(h["name"], h["fault_domain"], h["alive"]) for h in hosts] == [
        ("h01", "fd0", True),
        ("h02", "fd1", True),
    ]
    one = p2pctl("hosts", "-o", "json", "--dir", fleet_dir, "--filter", "fault_domain=fd1")
    assert [host["name"] for host in one.document()] == ["h02"]
    rest = p2pctl("hosts", "-o", "json", "--dir", fleet_dir, "--limit", "1", "--after", "h01")
    assert [host["name"] for host in rest.document()] == ["h02"]
    assert "h02" in p2pctl("hosts", "--dir", fleet_dir).out


def test_a_release_is_published_once_and_never_changes(p2pctl, fleet_dir: Path, payload) -> None:
    (payload / "large").write_bytes(os.urandom(3_000_000))
    order = ("publish", "hello", "1.0.0", payload, "--dir", fleet_dir, "-o", "json")
    first = p2pctl(*order)
    assert first.code == 0, first
    report = first.document()
    assert report["state"] == "published"
    assert report["sent_bytes"] == report["size_bytes"] > 3_000_000
    again = p2pctl(*order)
    assert (again.code, again.document()["state"]) == (0, "already-published")
    assert again.document()["sent_bytes"] == 0

    (payload / "more").write_text("other bytes")
    conflict = p2pctl(*order)
    assert (conflict.code, conflict.error_code) == (1, "version-exists")
    shown = p2pctl("release", "show", "hello", "1.0.0", "--dir", fleet_dir, "-o", "json").document()
    assert shown["manifest_digest"] == report["manifest_digest"]
    assert {"info_hash_v2", "size_bytes", "torrent_path"} <= set(shown)

    next_one = p2pctl("publish", "hello", "1.0.1", payload, "--dir", fleet_dir, "-o", "json")
    assert next_one.document()["reused_bytes"] >= 2_900_000
    listed = p2pctl("release", "list", "hello", "--dir", fleet_dir, "-o", "json").document()
    assert {release["version"] for release in listed} == {"1.0.0", "1.0.1"}


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (("release", "show", "hello", "9.9.9"), "no-release", 1),
        (("publish", "Hello", "1", "."), "bad-service-name", 1),
        (("publish", "hello", "1/2", "."), "usage", 2),
        (("hosts", "--filter", "colour=red"), "bad-filter", 2),
    ],
)
def test_what_is_refused_is_one_document_and_its_exit_code(
    p2pctl, fleet_dir, arguments, code, exit_code
) -> None:
    done = p2pctl(*arguments, "--dir", fleet_dir, "-o", "json")
    assert (done.code, done.error_code) == (exit_code, code)


def test_a_payload_of_another_service_is_refused(p2pctl, fleet_dir: Path, payload: Path) -> None:
    done = p2pctl("publish", "other", "1.0.0", payload, "--dir", fleet_dir)
    assert done.code == 1
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert "hello" in done.err


def test_another_fleets_operator_gets_nothing(p2pctl, fleet_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    add_trust(other)
    (other / "fleet.json").write_bytes((fleet_dir / "fleet.json").read_bytes())
    done = p2pctl("hosts", "--dir", other, "-o", "json")
    assert (done.code, done.error_code) == (1, "not-the-control-plane")


def test_a_viewer_publishes_nothing_and_that_is_on_record(
    p2pctl, fleet_dir: Path, payload: Path, tmp_path: Path
) -> None:
    viewer = tmp_path / "viewer"
    shutil.copytree(fleet_dir / "ca", viewer / "ca")
    shutil.copy(fleet_dir / "fleet.json", viewer)
    files = operator_files(fleet_dir, "eve", "viewer")
    (viewer / "operator").mkdir()
    shutil.copy(files.certificate, viewer / "operator" / "operator.pem")
    assert p2pctl("hosts", "--dir", viewer).code == 0
    done = p2pctl("publish", "hello", "6.6.6", payload, "--dir", viewer, "-o", "json")
    assert (done.code, done.error_code) == (1, "forbidden")
    log = [json.loads(line) for line in p2pctl("audit", "export", "--dir", fleet_dir).out.split()]
    refused = [entry for entry in log if entry["step"] == "refused"]
    assert refused[-1]["who"].endswith("/operator/eve")
    assert p2pctl("audit", "export", "--dir", viewer).code == 1
    assert p2pctl("audit", "verify", "--head", refused[-1]["digest"], "--dir", fleet_dir).code == 0
    matrix = p2pctl("auth", "matrix", "--dir", viewer, "-o", "json").document()
    assert ("/v1/audit", ["admin"]) in [(row["path"], row["roles"]) for row in matrix]


def test_up_on_a_fleet_that_is_up_is_refused_and_changes_nothing(p2pctl, fleet_dir: Path) -> None:
    programs = programs_of(fleet_dir, read_hosts(fleet_dir))
    before = find_running(programs)
    done = p2pctl("up", "--detach", "--dir", fleet_dir, "-o", "json")
    assert (done.code, done.error_code) == (1, "in-use")
    assert find_running(programs) == before


def test_up_after_a_crash_adopts_what_runs_and_starts_the_rest(p2pctl, fleet_dir: Path) -> None:
    programs = programs_of(fleet_dir, read_hosts(fleet_dir))
    before = find_running(programs)
    killed = [before[CONTROL_PLANE], before["h02"]]
    for identity in killed:
        os.kill(identity.pid, signal.SIGKILL)
    for _ in poll(10.0, 0.01):
        if not any(is_alive(identity) for identity in killed):
            break
    differs = p2pctl("up", "--detach", "--dir", fleet_dir, "--hosts", "5", "-o", "json")
    assert (differs.code, differs.error_code) == (2, "fleet-differs")
    done = p2pctl("up", "--detach", "--dir", fleet_dir, "-o", "json")
    assert done.code == 0, done
    assert done.document()["started"] == [CONTROL_PLANE, "h02"]
    assert done.document()["adopted"] == ["h01"]
    assert "one key of this machine approves rollouts" in done.err
    after = find_running(programs)
    assert after["h01"] == before["h01"]
    assert after["h02"] != before["h02"]


def test_only_a_daemon_that_answers_as_the_process_started_counts_as_joined(
    fleet_dir: Path,
) -> None:
    hosts = read_hosts(fleet_dir)
    programs = programs_of(fleet_dir, hosts)
    fleet = RunningFleet(
        folder=fleet_dir,
        hosts=hosts,
        programs=programs,
        processes=find_running(programs),
        report=UpReport(dir="", api="", hosts=2, started=[], adopted=[], seconds=0.0),
    )
    assert hosts_that_answer(fleet) == {"h01", "h02"}
    fleet.processes["h02"] = fleet.processes[CONTROL_PLANE]  # another process than answers there
    assert hosts_that_answer(fleet) == {"h01"}
