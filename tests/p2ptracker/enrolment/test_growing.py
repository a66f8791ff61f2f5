"""New hosts in a control plane that runs: from the command line, and after a restart."""

from __future__ import annotations

import json

import msgspec
import pytest

from p2pdeploy.errors import ConfigError, RefusedError
from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.topology import Host
from tests.p2ptracker.enrolment.command_line import p2pctl
from tests.p2ptracker.enrolment.joined import join_as

NEW = Host(
    name=HostName("n01"),
    address="127.88.3.1",
    environment="lab",
    machine_function="db",
    cell=CellId("lab.db.c0"),
    fault_domain=FaultDomain("fd0"),
    gossip_port=7946,
    swarm_port=6881,
    host_port=7947,
)


async def test_a_new_host_enters_a_running_fleet(tracker, config_of, token_for) -> None:
    await tracker.plane.enrolment.add_hosts([NEW])
    async with join_as(tracker, config_of, token_for, NEW.name) as host:
        answer = await host.http.get("/v1/cells/lab.db.c0/hosts")
        assert [each["name"] for each in answer.json()] == ["n01"]
    names = [each["name"] for each in (await tracker.http.get("/v1/hosts")).json()]
    assert "n01" in names
    await tracker.plane.orchestrator.look()
    assert tracker.plane.daemons.address_of("n01").address == NEW.address


async def test_a_new_host_is_there_after_a_restart(fleet_dir, started) -> None:
    async with started(fleet_dir) as before:
        await before.plane.enrolment.add_hosts([NEW])
    async with started(fleet_dir) as after:
        assert after.plane.inventory.get("n01") == NEW


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": "h01"}, RefusedError),
        ({"address": "127.88.1.10"}, RefusedError),
        ({"name": "Bad"}, ConfigError),
        ({"cell": "lab.web.c0"}, ConfigError),
        ({"fault_domain": ""}, ConfigError),
    ],
)
async def test_a_wrong_description_changes_nothing(tracker, change, error) -> None:
    before = (tracker.folder / "inventory.json").read_bytes()
    good = msgspec.structs.replace(NEW, name=HostName("n02"), address="127.88.3.2")
    wrong = msgspec.structs.replace(NEW, **change)
    with pytest.raises(error):
        await tracker.plane.enrolment.add_hosts([good, wrong])
    assert (tracker.folder / "inventory.json").read_bytes() == before
    assert len(tracker.plane.inventory) == 4


async def test_p2pctl_makes_a_token_and_shows_how_hosts_stand(tracker, capsys) -> None:
    code, text = await p2pctl(tracker, capsys, "enroll", "token", "--host", "h01", "--fd", "fd1")
    assert (code, text[:9]) == (0, "p2pjoin1.")
    code, text = await p2pctl(tracker, capsys, "enroll", "token", "--host", "h01", "--fd", "fd0")
    assert code == 1
    code, text = await p2pctl(tracker, capsys, "enroll", "status", "-o", "json")
    assert json.loads(text)["hosts"][0]["state"] == "token"
    revoke = ("enroll", "revoke", "h02", "--reason", "lost", "-o", "json")
    code, text = await p2pctl(tracker, capsys, *revoke)
    assert (code, json.loads(text)) == (0, {"host": "h02", "reason": "lost"})
    code, text = await p2pctl(tracker, capsys, "enroll", "status")
    assert "revoked" in text
    assert "lost" in text


async def test_p2pctl_imports_an_inventory(tracker, capsys, tmp_path) -> None:
    path = tmp_path / "new.csv"
    path.write_text(
        "name,address,environment,machine_function,fault_domain\n"
        "n01,127.88.3.1,lab,db,fd0\nn02,127.88.3.2,lab,db,fd1\n"
    )
    code, text = await p2pctl(tracker, capsys, "enroll", "import", str(path), "-o", "json")
    assert code == 0
    assert [each["host"] for each in json.loads(text)] == ["n01", "n02"]
    code, text = await p2pctl(tracker, capsys, "enroll", "import", str(path), "-o", "json")
    assert code == 0, "the same file again is the same hosts"
    assert len(tracker.plane.inventory) == 6


async def test_a_new_host_named_without_its_place_is_refused(tracker, capsys) -> None:
    code, _ = await p2pctl(tracker, capsys, "enroll", "token", "--host", "n09")
    assert code == 2
    assert tracker.plane.inventory.find("n09") is None
