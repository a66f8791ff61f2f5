"""Bytes ahead of a rollout, with real processes: they come, nothing runs, and none come again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pctl.fleet_dir import FleetDir
from tests.integration.fleet import Fleet, running_fleet
from tests.integration.payloads import write_payload
from tests.integration.schemas import check_document

pytestmark = pytest.mark.processes

DATA_BYTES = 3 * 1024 * 1024


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three hosts in three fault domains, up."""
    with running_fleet(tmp_path_factory.mktemp("fleet") / "dir", 3, 3) as fleet:
        yield fleet


def _dealt_bytes(fleet: Fleet) -> int:
    with FleetDir(fleet.folder).connect() as api:
        return api.dealt_bytes("ahead", "1")


def _fetches(fleet: Fleet) -> list[str]:
    """Every line in which a host says that it fetches."""
    lines = [
        line
        for host in fleet.names()
        for line in (fleet.folder / "logs" / f"{host}.log").read_text().splitlines()
    ]
    return [line for line in lines if json.loads(line)["event"] == "fetching"]


def test_a_rollout_of_what_was_prefetched_moves_no_bytes(fleet: Fleet, tmp_path: Path) -> None:
    fleet.publish("ahead", "1", write_payload(tmp_path / "tree", "ahead", data_bytes=DATA_BYTES))
    begun = fleet.ok("prefetch", "ahead", "1", "--env", "lab", "--mf", "web", "--for", "2h")
    check_document("prefetch", begun)
    assert (begun["total"], begun["rollout"]) == (3, "")
    got = fleet.ok("prefetch", "get", "ahead", "1", "-w")
    assert [row["staged"] for row in got["hosts"]] == [True] * 3
    dealt_bytes = _dealt_bytes(fleet)
    assert dealt_bytes >= DATA_BYTES
    for host in fleet.names():
        entry = fleet.service(host, "ahead")
        assert (entry["state"], entry["version"]) == ("absent", ""), "nothing was activated"
        assert not (fleet.state(host) / "services" / "ahead" / "current").exists()

    fetched = _fetches(fleet)
    assert len(fetched) == 3
    fleet.roll_out("ahead", "1")
    assert fleet.versions("ahead") == {"1"}
    assert _dealt_bytes(fleet) == dealt_bytes, "nothing left the origin"
    assert _fetches(fleet) == fetched, "and no host began to fetch anything from anybody"

    listed = fleet.ok("prefetch", "list")
    check_document("prefetches", listed)
    assert [(each["service"], each["staged"]) for each in listed] == [("ahead", 3)]
    fleet.ok("prefetch", "cancel", "ahead", "1")
    assert fleet.ok("prefetch", "list") == []
    assert fleet.refused("prefetch", "get", "ahead", "1")["code"] == "no-prefetch"
    assert fleet.versions("ahead") == {"1"}, "what runs is not taken away"
