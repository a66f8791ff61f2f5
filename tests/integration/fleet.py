"""A fleet of real processes, driven as its users drive it: command line, HTTP, kill."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from p2pctl.lab.layout import read_hosts
from p2pctl.lab.processes import Identity, is_alive, reap
from p2pctl.lab.programs import CONTROL_PLANE, Program, find_running, programs_of, start_program
from p2pctl.polling import poll
from p2pdeploy.host_client import HostAddress, ask_metrics
from p2pdeploy.trust.secret import read_secret
from tests.integration.schemas import check_document, schema_of

__all__ = ["CONTROL_PLANE", "P2PCTL", "Done", "Fleet", "Served", "running_fleet", "wait_for"]

T = TypeVar("T")

P2PCTL = Path(sys.executable).with_name("p2pctl")
COMMAND_TIMEOUT_S = 180.0  # of any one command; what is slower hangs
# A deadline that a loaded machine meets; nothing waits this long unless it is broken.
DEADLINE_S = 60.0
_LOOK_EVERY_S = 0.1
_ASK_TIMEOUT_S = 3.0


class Done(NamedTuple):
    """How one run of p2pctl ended.  ``document`` is None when stdout held no JSON."""

    code: int
    document: Any
    out: str
    err: str


class Served(NamedTuple):
    """What a service says over HTTP."""

    version: str
    pid: int


def wait_for(
    condition: Callable[[], T | None],
    what: str,
    timeout_s: float = DEADLINE_S,
    every_s: float = _LOOK_EVERY_S,
) -> T:
    """Return the first value of *condition* that is true; fail the test after *timeout_s*."""
    value: T | None = None
    for _ in poll(timeout_s, every_s):
        if value := condition():
            return value
    raise AssertionError(f"not within {timeout_s:g} s: {what}; last seen: {value!r}")


class Fleet:
    """The fleet in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"<Fleet {self.folder}>"

    # -- the command line --------------------------------------------------------------------

    def ctl(self, *arguments: object, timeout_s: float = COMMAND_TIMEOUT_S) -> Done:
        """Run ``p2pctl ARGUMENTS -o json`` on this fleet; its document must fit its schema."""
        run = subprocess.run(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert "Traceback" not in run.stderr, run.stderr
        try:
            document = json.loads(run.stdout)
        except ValueError:
            document = None
        else:
            words = [str(argument) for argument in arguments]
            check_document(schema_of(words, document), document)
        return Done(run.returncode, document, run.stdout, run.stderr)

    def command(self, *arguments: object) -> list[str]:
        """The command line that :meth:`ctl` runs."""
        words = [str(argument) for argument in arguments]
        return [str(P2PCTL), "--dir", str(self.folder), *words, "-o", "json"]

    def ok(self, *arguments: object) -> Any:
        """Run a command that has to work; return its document."""
        done = self.ctl(*arguments)
        assert done.code == 0, done
        return done.document

    def refused(self, *arguments: object, code: int = 1) -> dict[str, str]:
        """Run a command that has to be refused with *code*; return the error."""
        done = self.ctl(*arguments)
        assert done.code == code, done
        assert set(done.document) == {"error"}, done
        return done.document["error"]

    def up(self, hosts: int = 6, fault_domains: int = 3) -> None:
        """Make the fleet and start it."""
        self.ok("up", "--detach", "--hosts", hosts, "--fault-domains", fault_domains)

    def down(self) -> None:
        """Stop everything."""
        self.ok("down")

    def publish(self, service: str, version: str, tree: Path) -> Any:
        """Publish and return the report."""
        return self.ok("publish", service, version, tree)

    def apply(self, service: str, version: str, *more: object, settle: str = "200ms") -> str:
        """Begin a rollout to every host, or to what *more* says; return its id."""
        target = () if "--targets" in more else ("--env", "lab", "--mf", "web")
        words = ("rollout", "apply", service, version, *target, "--settle", settle, *more)
        accepted = self.ok(*words)
        assert accepted["reasons"], "a state that is not final carries a reason"
        return accepted["id"]

    def finish(self, rollout: str, state: str = "complete") -> Any:
        """Wait for the end of a rollout, which must be *state*; return its document."""
        done = self.ctl("rollout", "status", rollout, "--timeout", "150s")
        assert done.code == (0 if state == "complete" else 1), done
        assert done.document["state"] == state, done
        return done.document

    def roll_out(self, service: str, version: str, *more: object) -> Any:
        """Apply and finish."""
        return self.finish(self.apply(service, version, *more))

    # -- what is seen from outside -----------------------------------------------------------

    def api(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        token: str | None = None,
    ) -> tuple[int, bytes]:
        """One raw request to the API, by default with the right token; status and body."""
        netloc = urlsplit(self.file()["api"]).netloc
        bearer = {"Authorization": f"Bearer {read_secret(self.folder) if token is None else token}"}
        return ask(netloc, method, path, body=body, headers=bearer | (headers or {}))

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

    def begins(self, host: str, service: str, version: str) -> Served:
        """Wait until a host has started *version*, well or not, and return its word."""

        def look() -> Served | None:
            answer = self.word(host, service)
            return answer[1] if answer and answer[1].version == version else None

        return wait_for(look, f"{host} starts {service} {version}")

    def all_serve(self, service: str) -> dict[str, Served | None]:
        """The same of every host."""
        return {host: self.serves(host, service) for host in self.names()}

    def names(self) -> list[str]:
        """Every host's name, in order."""
        return sorted(self.file()["hosts"])

    def state(self, host: str) -> Path:
        """A daemon's state folder."""
        return self.folder / "hosts" / host / "state"

    async def host_metrics(self, host: str) -> str:
        """What a daemon counts, in Prometheus' text format."""
        entry = self.file()["hosts"][host]
        secret = read_secret(self.folder)
        address = HostAddress(entry["address"], entry["host_port"], token=secret)
        return (await ask_metrics(address)).text

    # -- processes ---------------------------------------------------------------------------

    def running(self) -> dict[str, Identity]:
        """The control plane and the daemons that run, by name."""
        return find_running(self._programs())

    def kill(self, *names: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill programs of the fleet, by default with -9, and wait until they are gone."""
        running = self.running()
        for name in names:
            os.kill(running[name].pid, number)
        for name in names:
            wait_for(lambda name=name: not is_alive(running[name]), f"{name} ends", 20.0)
            reap(running[name])

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one program of the fleet."""
        os.kill(self.running()[name].pid, number)

    def start(self, *names: str) -> None:
        """Start programs with the command line that ``up`` uses, and wait until they serve."""
        wanted = {program.name: program for program in self._programs()}
        for name in names:
            start_program(wanted[name])
        wait_for(lambda: self._are_up(names), f"{', '.join(names)} up")

    def restart(self, *names: str) -> None:
        """Kill -9, and start again."""
        self.kill(*names)
        self.start(*names)

    def wait_lost(self, *names: str) -> None:
        """Wait until the fleet no longer believes in hosts whose daemons were killed."""
        wait_for(
            lambda: not any(self.hosts()[name]["alive"] for name in names),
            f"{', '.join(names)} is known to be gone",
        )

    def _are_up(self, names: Sequence[str]) -> bool:
        with suppress(OSError, http.client.HTTPException):
            hosts = self.hosts()
            return all(name == CONTROL_PLANE or hosts[name]["alive"] for name in names)
        return False

    def _programs(self) -> list[Program]:
        return programs_of(self.folder, read_hosts(self.folder))

    def left_over(self) -> dict[int, str]:
        """Every process of ours whose command line or working directory lies in the folder."""
        mark, found = os.fsencode(self.folder), dict[int, str]()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            with suppress(OSError):  # it ended, or is not ours
                line = (entry / "cmdline").read_bytes()
                if mark in line or mark in os.fsencode((entry / "cwd").readlink()):
                    found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace")
        return found

    def kill_everything(self) -> None:
        """Kill -9 every process of the fleet: daemons, supervisors, services, control plane."""
        for pid in self.left_over():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for identity in self.running().values():
            reap(identity)
        wait_for(lambda: not self.left_over(), "every process of the fleet has ended", 20.0)


def ask(
    netloc: str,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """One HTTP request; status and body."""
    connection = http.client.HTTPConnection(netloc, timeout=_ASK_TIMEOUT_S)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


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
