"""Two daemons live through many certificates, and through a time without a control plane.

Their certificates hold some seconds instead of a day; only the control plane, which runs in this
process, is told so.  Daemons and services are real processes and don't know; a daemon tries again
sooner when it could not renew, and asks whom to believe as often as the control plane says.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

import p2pdaemon
import p2pdeploy
from p2pdaemon.config import DaemonConfig
from p2pdaemon.join import join
from p2pdeploy.ids import CellId, ServiceName
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.enrolment import CellTrust
from p2pdeploy.payload.build import Built, build
from p2pdeploy.topology import Host
from p2pdeploy.trust import certificates
from p2pdeploy.trust.host_identity import load_validity
from p2ptracker.authority import issue
from p2ptracker.enrolment.revoking import Revoker
from tests.daemon_toml import write_daemon_toml
from tests.integration.payloads import write_payload
from tests.integration.processes import processes_below, spare_none_below
from tests.p2ptracker.tracker_bench import CELL, Tracker

pytestmark = [pytest.mark.processes, pytest.mark.slow]

LIFE_S = 10.0  # renewed after 4 to 6 s, by a process that takes a second or two
LIVES = 2
RETRY_FIRST_S = 2.0  # a host that could not renew tries again within three times that
STEP_S = 15  # of a rotation, the least there is: hosts ask whom to believe every 5 s
PATIENCE_S = 60.0
HELLO = ServiceName("hello")
HOW = {"environment": "lab", "machine_function": "web", "bake_s": 0.2, "settle_s": 0}
DAEMON = f"""
import runpy, sys
from p2pdaemon import renewal_schedule
renewal_schedule.RETRY_FIRST_S = {RETRY_FIRST_S}
runpy.run_module("p2pdaemon", run_name="__main__", alter_sys=True)
"""
SOURCES = [str(Path(package.__path__[0]).parent) for package in (p2pdeploy, p2pdaemon)]


async def until(told: Callable[[], object], what: str) -> None:
    """Look until it is so."""
    with trio.move_on_after(PATIENCE_S):
        while True:
            if told():
                return
            await trio.sleep(0.1)
    raise AssertionError(f"not within {PATIENCE_S:g} s: {what}")


class Machine:
    """One host: its daemon as a process, and what is seen of it from outside."""

    def __init__(self, config: DaemonConfig) -> None:
        self.config, self.home = config, config.state_dir.parent
        self.toml = write_daemon_toml(self.home, config)
        self.issued_at = set[float]()
        self.daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-c", DAEMON, "run", "--config"]
        with (self.home / "log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [*command, str(self.toml)],
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(SOURCES)},
            )

    def stop(self) -> None:
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()

    def look(self) -> float:
        """Until when its certificates hold; takes note of which it has."""
        validity = load_validity(self.config.identity_dir)
        if validity is None:
            return 0.0
        self.issued_at.add(validity.issued_at)
        return validity.expires_at

    def has_expired(self) -> bool:
        return self.look() < time.time()

    def service_pids(self) -> frozenset[int]:
        """Of the service itself, which only ``exec`` gives this command line."""
        found = processes_below(self.home)
        return frozenset(pid for pid, line in found.items() if line.endswith("-S server.py "))


@pytest.fixture
def machines(
    fleet_dir: Path,
    tmp_path: Path,
    config_of: Callable[..., DaemonConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> Generator[list[Machine]]:
    """Two hosts at addresses of this run, in a fleet whose certificates are short-lived."""
    for module in (issue, certificates):
        monkeypatch.setattr(module, "HOST_LIFETIME", dt.timedelta(seconds=LIFE_S))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    toml = fleet_dir / "tracker.toml"
    text = toml.read_text().replace("api_port = 0", f"api_port = {port}")
    toml.write_text(f"{text}key_step_s = {STEP_S}\n")
    net = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
    found = msgspec.json.decode((fleet_dir / "inventory.json").read_bytes(), type=list[Host])[:2]
    hosts = [
        msgspec.structs.replace(host, address=f"{net}.{number}")
        for number, host in enumerate(found, start=1)
    ]
    (fleet_dir / "inventory.json").write_bytes(msgspec.json.encode(hosts))
    made = [Machine(config_of(host, api=f"https://127.0.0.1:{port}")) for host in hosts]
    with spare_none_below(tmp_path / "hosts"):
        try:
            yield made
        finally:
            for machine in made:
                machine.stop()


@pytest.fixture
def asked_trust(monkeypatch: pytest.MonkeyPatch) -> list[CellId]:
    """Grows each time a host asks whom to believe, and gets an answer."""
    asked, answer = list[CellId](), Revoker.cell_trust

    async def note(revoker: Revoker, cell: CellId) -> CellTrust:
        asked.append(cell)
        return await answer(revoker, cell)

    monkeypatch.setattr(Revoker, "cell_trust", note)
    return asked


async def roll_out(tracker: Tracker, version: str, built: Built) -> None:
    """Publish and sign *built*, and have it run everywhere."""
    answer = await tracker.publish(version, built)
    assert answer.status_code == 200, answer.text
    asked: dict[str, Any] = {"service": HELLO, "version": version}
    answer = await tracker.http.post("/v1/rollouts", json={**asked, **HOW})
    assert answer.is_success, answer.text
    await until(lambda: running(tracker, version), f"{version} runs on both hosts")


def running(tracker: Tracker, version: str) -> bool:
    words = tracker.plane.cells.get(CELL).evidence.get(HELLO, {}).values()
    return len(words) == 2 and all(is_well(word, version) for word in words)


def is_well(word: Attestation, version: str) -> bool:
    return (word.state, word.version) == ("healthy", version)


@contextmanager
def untouched(machines: list[Machine]) -> Generator[None]:
    """Neither a daemon nor a service ends or begins meanwhile."""
    before = [(machine.service_pids(), machine.daemon) for machine in machines]
    assert all(len(pids) == 1 for pids, _ in before), before
    yield
    assert [(machine.service_pids(), machine.daemon) for machine in machines] == before
    assert [daemon and daemon.poll() for _, daemon in before] == [None, None]


async def test_an_outage_and_many_renewals_touch_no_service(
    fleet_dir: Path,
    machines: list[Machine],
    started,
    token_for,
    tmp_path: Path,
    asked_trust: list[CellId],
) -> None:
    releases = [
        build(write_payload(tmp_path / note, HELLO, note=note), HELLO) for note in ("1", "2")
    ]
    async with started(fleet_dir) as tracker:
        for machine in machines:
            await join(machine.config, await token_for(tracker, machine.config.name))
            machine.start()
        await until(lambda: is_seen(tracker, machines), "the control plane sees both")
        await roll_out(tracker, "1.0.0", releases[0])
        with untouched(machines):
            await until(lambda: have_renewed(machines), "both renewed some times")
            # Both asked at their start; what they present now, they didn't have then.
            await until(lambda: len(asked_trust) >= 4, "both asked again whom to believe")
            await until(lambda: is_seen(tracker, machines), "the control plane sees both")

    async with AsyncExitStack() as running_again:
        with untouched(machines):  # the control plane is gone
            for machine in machines:
                await until(machine.has_expired, "its certificates have expired")
            tracker = await running_again.enter_async_context(started(fleet_dir))
            for machine in machines:
                await until(lambda m=machine: not m.has_expired(), "it renews what had expired")
            await until(lambda: is_seen(tracker, machines), "the control plane sees both again")
        await roll_out(tracker, "2.0.0", releases[1])  # deals and the swarm, under what came last


def have_renewed(machines: list[Machine]) -> bool:
    for machine in machines:
        machine.look()
    return all(len(machine.issued_at) > LIVES for machine in machines)


def is_seen(tracker: Tracker, machines: list[Machine]) -> bool:
    alive = tracker.plane.cells.get(CELL).alive(trio.current_time())
    return alive == {machine.config.name for machine in machines}
