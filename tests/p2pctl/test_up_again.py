"""``down`` and ``up`` of a fleet whose inventory has changed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pctl.cli import run
from p2pctl.lab.layout import read_hosts
from p2pctl.lab.programs import CONTROL_PLANE

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def stopped_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three hosts were up, h03 was revoked, new1 and a00 entered the inventory; then ``down``."""
    folder = tmp_path_factory.mktemp("fleet")
    named = ("--dir", str(folder))
    try:
        assert run(["up", "--hosts", "3", "--fault-domains", "1", "--detach", *named]) == 0
        described = ("--env", "lab", "--mf", "web", "--fd", "fd0")
        for name, address in (("new1", "127.64.99.77"), ("a00", "127.64.99.78")):
            token = ["enroll", "token", "--host", name, "--address", address, *described]
            assert run([*token, *named]) == 0
        assert run(["enroll", "revoke", "h03", *named]) == 0
        assert run(["down", *named]) == 0
        yield folder
    finally:
        run(["down", *named])


def test_up_starts_the_hosts_it_laid_out_and_tells_of_the_others(
    p2pctl, stopped_fleet: Path
) -> None:
    assert {"a00", "new1"} < {host.name for host in read_hosts(stopped_fleet)}
    done = p2pctl("up", "--detach", "--dir", stopped_fleet, "-o", "json")
    assert done.code == 0, done
    report = done.document()
    assert report["started"] == [CONTROL_PLANE, "h01", "h02"]
    assert report["hosts"] == 2
    assert report["left_alone"] == ["a00", "new1"]
    assert report["revoked"] == ["h03"]
    assert "left alone, since they have no folder here: a00, new1" in done.err
    assert "revoked, so not started: h03" in done.err
    hosts = p2pctl("hosts", "-o", "json", "--dir", stopped_fleet).document()
    assert {host["name"] for host in hosts if host["alive"]} >= {"h01", "h02"}
    assert [host["name"] for host in hosts if host["revoked"]] == ["h03"]


def test_a_token_that_was_given_away_still_counts_after_up(p2pctl, stopped_fleet: Path) -> None:
    status = p2pctl("enroll", "status", "-o", "json", "--dir", stopped_fleet).document()
    states = {each["host"]: each["state"] for each in status["hosts"]}
    assert states == {"a00": "token", "h01": "enrolled", "h02": "enrolled", "h03": "revoked"} | {
        "new1": "token"
    }
