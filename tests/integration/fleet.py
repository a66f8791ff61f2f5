"""A fleet of real processes, driven as its users drive it: command line, HTTP, kill."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import ssl
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import trio

from p2pctl.fleet_dir import FleetDir
from p2pctl.lab.layout import read_hosts
from p2pctl.lab.programs import CONTROL_PLANE, Program, find_running, programs_of, start_program
from p2pdeploy.host_client import HostAddress, ask_why
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.host import WhyRequest
from p2pdeploy.process_identity import ProcessIdentity, is_alive, reap
from p2pdeploy.trust.tls import client_context, is_control_plane
from tests.integration.command_line import CommandLine
from tests.integration.processes import END_TIMEOUT_S, kill_below, processes_below
from tests.integration.schemas import check_document
from tests.integration.waiting import ask, wait_for

__all__ = ["CONTROL_PLANE", "Fleet", "Served", "running_fleet"]

_STARTED = re.compile(r"\{'version': '([^']+)'")  # the first thing that a payload prints


class Served(NamedTuple):
    """What a service says over HTTP."""

    version: str
    pid: int


class Fleet(CommandLine):
    """The fleet in *folder*: its commands, what is seen of it from outside, its processes."""

    def __repr__(self) -> str:
        return f"<Fleet {self.folder}>"

    # -- what is seen from outside -----------------------------------------------------------

    def api(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """One raw request to the API as the fleet's operator; status and body."""
        context = self.tls()
        return ask(self.netloc(), method, path, body=body, headers=headers, context=context)

    def netloc(self) -> str:
        """``address:port`` of the API."""
        return urlsplit(self.file()["api"]).netloc

    def tls(self) -> ssl.SSLContext:
        """What the fleet's operator presents to the control plane."""
        identity = FleetDir(self.folder).identity()
        return client_context(identity, is_control_plane, who="the control plane")

    def file(self) -> Any:
        """``fleet.json``."""
        document = json.loads((self.folder / "fleet.json").read_bytes())
        check_document("fleet-file", document)
        return document

    def hosts(self) -> dict[str, Any]:
        """Every host by name, as the API shows it."""
        status, body = self.api("GET", "/v1/hosts?limit=1000")
        assert status == 200, body
        return {host["name"]: host for host in json.loads(body)}

    def service(self, host: str, service: str) -> Any:
        """A service's entry on a host; None when the fleet knows of none."""
        entries = self.hosts()[host]["services"]
        return next((entry for entry in entries if entry["service"] == service), None)

    def rollout(self, rollout: str) -> Any:
        """A rollout's document, straight from the API."""
        status, body = self.api("GET", f"/v1/rollouts/{rollout}")
        assert status == 200, body
        return json.loads(body)

    def port(self, host: str, service: str) -> int:
        """The port that was chosen for a service on a host; kept across versions."""
        return int((self.state(host) / "services" / service / "port").read_text())

    def word(self, host: str, service: str) -> tuple[int, Served] | None:
        """HTTP status and word of the service itself, well or not; None when nothing answers."""
        try:
            netloc = f"{self.file()['hosts'][host]['address']}:{self.port(host, service)}"
            status, body = ask(netloc, "GET", "/")
        except (OSError, ValueError, http.client.HTTPException):
            return None
        word = json.loads(body)
        assert word["service"] == service, f"{host}'s port of {service} is used by another"
        return status, Served(word["version"], word["pid"])

    def serves(self, host: str, service: str) -> Served | None:
        """What the service serves; None when it does not, or is not well."""
        answer = self.word(host, service)
        return answer[1] if answer and answer[0] == 200 else None

    def all_serve(self, service: str) -> dict[str, Served | None]:
        """The same of every host."""
        return {host: self.serves(host, service) for host in self.names()}

    def versions(self, service: str) -> set[str | None]:
        """Every version that is served; None stands for a host that serves none, or is not well."""
        return {word and word.version for word in self.all_serve(service).values()}

    def names(self) -> list[str]:
        """Every host's name, in order."""
        return sorted(self.file()["hosts"])

    def state(self, host: str) -> Path:
        """A daemon's state folder."""
        return self.folder / "hosts" / host / "state"

    def starts(self, host: str, service: str) -> list[str]:
        """Every version that was ever started on a host, oldest first, by its own output."""
        lines: list[str] = self.ok("logs", host, service, "-n", 10_000)["lines"]
        return [word[1] for line in lines if (word := _STARTED.search(line))]

    def host_metrics(self, host: str) -> str:
        """What a daemon counts, in Prometheus' text format, as an operator reads it."""
        status, body = self.api("GET", f"/v1/hosts/{host}/metrics")
        assert status == 200, body
        return body.decode()

    def holds(self, host: str, service: str) -> str:
        """The code of what holds a service's next step, by the daemon's own word."""
        request = WhyRequest(service=ServiceName(service))
        return trio.run(ask_why, self.address_of(host), request).code

    def address_of(self, host: str) -> HostAddress:
        """Where a daemon answers its operator."""
        entry = self.file()["hosts"][host]
        identity = FleetDir(self.folder).identity()
        return HostAddress(host, entry["address"], entry["host_port"], identity=identity)

    # -- waiting -----------------------------------------------------------------------------

    def wait_begun(self, host: str, service: str, version: str) -> Served:
        """Wait until a host has started *version*, well or not, and return its word."""
        _, word = wait_for(
            lambda: self.word(host, service),
            f"{host} starts {service} {version}",
            until=lambda answer: answer[1].version == version,
        )
        return word

    def wait_serves(self, host: str, service: str, version: str) -> Served:
        """Wait until a host serves *version* and is well, and return its word."""
        _, word = wait_for(
            lambda: self.word(host, service),
            f"{host} serves {service} {version}",
            until=lambda answer: answer[0] == 200 and answer[1].version == version,
        )
        return word

    def wait_silent(self, host: str, service: str) -> None:
        """Wait until a service answers no more."""
        wait_for(
            lambda: (self.word(host, service),),
            f"{service} is gone from {host}",
            until=lambda seen: seen == (None,),
        )

    def wait_all_serve(self, service: str, version: str) -> None:
        """Wait until every host serves *version*."""
        wait_for(
            lambda: self.all_serve(service),
            f"every host serves {service} {version}",
            until=lambda words: all(word and word.version == version for word in words.values()),
        )

    def wait_state(self, host: str, service: str, state: str) -> None:
        """Wait until the fleet reports a service of a host to be in *state*."""
        wait_for(
            lambda: self.service(host, service),
            f"{service} is {state} on {host}",
            until=lambda entry: entry["state"] == state,
        )

    def wait_reported(self, service: str, versions: dict[str, int]) -> None:
        """Wait until ``fleet versions`` counts *versions*."""
        wait_for(
            lambda: self.ok("fleet", "versions", service)["versions"],
            f"{versions} of {service} are reported",
            until=lambda seen: seen == versions,
        )

    def wait_lost(self, *names: str) -> None:
        """Wait until the fleet no longer believes in hosts whose daemons were killed."""
        wait_for(
            self._alive,
            f"{', '.join(names)} is known to be gone",
            until=lambda alive: not alive.intersection(names),
        )

    # -- processes ---------------------------------------------------------------------------

    def running(self) -> dict[str, ProcessIdentity]:
        """The control plane and the daemons that run, by name."""
        return find_running(self._programs())

    def kill(self, *names: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill programs of the fleet, by default with -9, and wait until they are gone."""
        running = self.running()
        for name in names:
            os.kill(running[name].pid, number)
        for name in names:
            wait_for(
                lambda name=name: not is_alive(running[name]),
                f"{name} ends: {running[name]}",
                timeout_s=END_TIMEOUT_S,
            )
            reap(running[name])

    def start(self, *names: str) -> None:
        """Start programs with the command line that ``up`` uses, and wait until they serve."""
        self.launch(*names)
        wait_for(self._alive, f"{', '.join(names)} up", until=lambda alive: alive.issuperset(names))

    def launch(self, *names: str) -> None:
        """Start programs, and wait for nothing."""
        wanted = {program.name: program for program in self._programs()}
        for name in names:
            start_program(wanted[name])

    def restart(self, *names: str) -> None:
        """Kill -9, and start again."""
        self.kill(*names)
        self.start(*names)

    def reboot(self, host: str) -> None:
        """Kill -9 everything of a host, as a reset does: daemon, supervisors and services."""
        self.kill(host)
        kill_below(self.folder / "hosts" / host)

    def _alive(self) -> set[str]:
        """The control plane, if it answers, and the hosts that it believes in."""
        with suppress(OSError, http.client.HTTPException):
            return {CONTROL_PLANE} | {n for n, host in self.hosts().items() if host["alive"]}
        return set()

    def _programs(self) -> list[Program]:
        return programs_of(self.folder, read_hosts(self.folder))

    def left_over(self) -> dict[int, str]:
        """Every process of ours whose command line or working directory lies in the folder."""
        return processes_below(self.folder)

    def kill_everything(self) -> None:
        """Kill -9 every process of the fleet: daemons, supervisors, services, control plane."""
        running = self.running().values()
        kill_below(self.folder)
        for identity in running:
            reap(identity)


@contextmanager
def running_fleet(folder: Path, hosts: int = 6, fault_domains: int = 3) -> Generator[Fleet]:
    """A fleet that is up; at the end it is taken down and must leave nothing behind."""
    fleet = Fleet(folder)
    try:
        fleet.up(hosts, fault_domains)
        yield fleet
        fleet.down()
        assert fleet.left_over() == {}
    finally:
        if (folder / "fleet.json").exists():
            fleet.kill_everything()
