"""The real control plane and daemons, each program on a machine of the lab."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from lab.costs import Costs
from lab.network import Network
from lab.plan import ORIGIN, PREFIX, Machine
from lab.waiting import wait_for
from p2pctl.lab.layout import (
    ANNOUNCE_PORT,
    ENVIRONMENT,
    GOSSIP_PORT,
    HOST_PORT,
    MACHINE_FUNCTION,
    SWARM_PORT,
    daemon_config,
    write_layout,
)
from p2pctl.lab.programs import CONTROL_PLANE, Program, programs_of
from p2pdeploy.ids import FaultDomain, HostName, cell_id
from p2pdeploy.topology import Host

__all__ = ["LabFleet", "moment", "running_control_plane", "running_fleet"]

_READY_S = 120.0
_COMMAND_S = 1800.0
_AT_ONCE = 4  # each is an interpreter; more only wait for a core

_ASK = """
import sys
from pathlib import Path
from p2pctl.fleet_dir import FleetDir
from p2pdeploy.messages.enrolment_desk import TokenRequest
with FleetDir(Path(sys.argv[1])).connect() as api:
    if not sys.argv[2:]:
        api.hosts(limit=1)
    else:
        for view in api.join_tokens(TokenRequest(hosts=tuple(sys.argv[2:]))):
            print(view.host, view.token)
"""

_REGISTER = """
import sys
from pathlib import Path
from p2pctl.fleet_dir import FleetDir
from p2pctl.wire import Wire
fleet = FleetDir(Path(sys.argv[1]))
wire = Wire(fleet.read().api, fleet.identity(), folder=fleet.path)
wire.post("/v1/lab/torrents", dict, document={"info_hash": sys.argv[2]})
wire.close()
"""


class LabFleet:
    """A fleet in *folder*, one daemon on each host of the network's plan.

    Args:
        folder: New.
        network: Made.
        public: Opens the announce endpoint to public clients.
    """

    def __init__(self, folder: Path, network: Network, *, public: bool = False) -> None:
        self.folder = folder
        self.network = network
        self.public = public
        self.hosts = [_host(machine) for machine in network.plan.hosts]
        self._programs = {program.name: program for program in programs_of(folder, self.hosts)}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.costs = Costs()

    def begin_control_plane(self) -> None:
        """Keys and control plane; returns when the API answers."""
        self._run([sys.executable, "-m", "p2ptracker", "init", str(self.folder)])
        write_layout(self.folder, PREFIX, self.hosts)
        if self.public:
            config = self.folder / "tracker.toml"
            config.write_text(config.read_text().replace("lab = false", "lab = true"))
        self.start(CONTROL_PLANE)
        self._tokens([])

    def begin_hosts(self) -> None:
        """Every host joins and runs; returns when each is seen alive."""
        tokens = self._tokens([host.name for host in self.hosts])
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self._join, tokens, tokens.values()))
        for host in self.hosts:
            self.start(host.name)
        self.wait_all_alive()

    def wait_all_alive(self) -> None:
        """Wait until the control plane believes in every host."""
        wait_for(self._all_alive, "every host is seen alive", _READY_S)

    def start(self, name: str) -> None:
        """Start the control plane or a host's daemon on its machine."""
        program: Program = self._programs[name]
        with program.log_path.open("ab") as log:
            words = self.network.inside(_machine(name), [sys.executable, *program.arguments])
            self._running[name] = subprocess.Popen(words, stdout=log, stderr=log)
        if name != CONTROL_PLANE:
            self.costs.begin(self._running[name])

    def kill(self, name: str) -> None:
        """Kill -9."""
        process = self._running.pop(name)
        self.costs.end(process)
        process.kill()
        process.wait()

    def end(self) -> None:
        """Kill everything; services go with the world."""
        for name in list(self._running):
            self.kill(name)

    def p2pctl(self, *words: object) -> Any:
        """Run a command on the control plane's machine; its document."""
        argv = [sys.executable, "-m", "p2pctl", "--dir", self.folder, *words, "-o", "json"]
        return json.loads(self._run(self.network.inside(ORIGIN, argv)))

    def logged(self, host: str, event: str) -> list[dict[str, Any]]:
        """The lines of a host's log about *event*, oldest first."""
        lines = self._programs[host].log_path.read_text().splitlines()
        words = f'"{event}"'
        found = [json.loads(line) for line in lines if words in line and line.startswith("{")]
        return [line for line in found if line.get("event") == event]

    def wait_logged(
        self, event: str, names: Sequence[str], timeout_s: float
    ) -> dict[str, dict[str, Any]]:
        """Wait until each of these hosts has logged *event*; the newest such line of each."""
        return {
            name: wait_for(
                lambda name=name: self.logged(name, event), f"{event} on {name}", timeout_s
            )[-1]
            for name in names
        }

    @property
    def announce_url(self) -> str:
        """Where public clients announce."""
        return f"http://{self.network.plan.origin.address}:{ANNOUNCE_PORT}/announce"

    def register(self, info_hash: str) -> None:
        """Let the announce endpoint track a v1 torrent."""
        words = [sys.executable, "-c", _REGISTER, self.folder, info_hash]
        self._run(self.network.inside(ORIGIN, words))

    def _tokens(self, names: Sequence[str]) -> dict[str, str]:
        words = self.network.inside(ORIGIN, [sys.executable, "-c", _ASK, self.folder, *names])

        def ask() -> list[str] | None:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            return [*done.stdout.splitlines(), ""] if done.returncode == 0 else None

        lines = wait_for(ask, "the control plane answers", _READY_S)
        return dict(line.split(" ", 1) for line in lines if line)  # pyright: ignore[reportReturnType]

    def _join(self, name: str, token: str) -> None:
        config = daemon_config(self.folder, name)
        words = [sys.executable, "-m", "p2pdaemon", "join", "-", "--config", config]
        self._run(self.network.inside(name, words), says=token)

    def _all_alive(self) -> bool:
        shown = self.p2pctl("hosts", "--limit", 1000)
        return sum(bool(host["alive"]) for host in shown) == len(self.hosts)

    def _run(self, words: Sequence[object], says: str = "") -> str:
        done = subprocess.run(
            [str(word) for word in words],
            input=says,
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"{words} exits {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout


@contextmanager
def running_fleet(folder: Path, network: Network) -> Generator[LabFleet]:
    """A fleet that is up, every host alive; killed afterwards."""
    fleet = LabFleet(folder, network)
    try:
        fleet.begin_control_plane()
        fleet.begin_hosts()
        yield fleet
    finally:
        fleet.end()


@contextmanager
def running_control_plane(folder: Path, network: Network) -> Generator[LabFleet]:
    """A control plane alone, whose announce endpoint serves public clients; killed afterwards."""
    fleet = LabFleet(folder, network, public=True)
    try:
        fleet.begin_control_plane()
        yield fleet
    finally:
        fleet.end()


def moment(line: dict[str, Any]) -> float:
    """When a line was logged, in seconds of the Unix epoch."""
    return datetime.fromisoformat(str(line["timestamp"])).timestamp()


def _machine(program: str) -> str:
    return ORIGIN if program == CONTROL_PLANE else program


def _host(machine: Machine) -> Host:
    return Host(
        name=HostName(machine.name),
        address=machine.address,
        environment=ENVIRONMENT,
        machine_function=MACHINE_FUNCTION,
        cell=cell_id(ENVIRONMENT, MACHINE_FUNCTION, f"c{machine.cell}"),
        fault_domain=FaultDomain(f"fd{machine.rack}"),
        gossip_port=GOSSIP_PORT,
        swarm_port=SWARM_PORT,
        host_port=HOST_PORT,
    )
