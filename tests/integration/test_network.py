"""A fleet whose machines have addresses of their own and reach each other over a network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pctl.lab.layout import ANNOUNCE_PORT, SWARM_PORT, plan_hosts, write_layout
from p2pctl.lab.programs import CONTROL_PLANE, programs_of
from p2pdeploy.topology import Host
from tests.integration.command_line import CommandLine
from tests.integration.namespaces import Network, network, why_not
from tests.integration.payloads import write_payload
from tests.integration.processes import kill_below, processes_below
from tests.integration.waiting import running, wait_for

_WHY_NOT = why_not()
pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT),
]

PREFIX = "10.77.0"
STRANGER = "stranger"
# The first process of the machine may be hidden from us.  Here it is a shell, in the machine's own
# network namespace, and what it runs moves to another.
BESIDE_A_MACHINE = (
    *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("sh", "-c", '"$@"; exit $?', "sh"),
)
ALERT_BYTES = 7  # of TLS: what strangers get at most
_TIMEOUT_S = 60.0

ASK_TOKENS = """
import sys
from pathlib import Path
from p2pctl.fleet_dir import FleetDir
from p2pdeploy.messages.enrolment_desk import TokenRequest
with FleetDir(Path(sys.argv[1])).connect() as api:
    for view in api.join_tokens(TokenRequest(hosts=tuple(sys.argv[2:]))):
        print(view.host, view.token)
"""

ANNOUNCE = """
import http.client, ssl, sys
address, certificate, authority, query = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
if certificate:
    context.load_cert_chain(certificate)
connection = http.client.HTTPSConnection(address, context=context, timeout=5)
try:
    connection.request("GET", "/announce?" + query)
    print(connection.getresponse().read().hex())
except OSError:  # hung up on, by an alert or without
    print("")
"""

GET = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
"""

SILENCE = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as stream:
    stream.sendall(b"\\x13BitTorrent protocol" + bytes(48))
    stream.shutdown(socket.SHUT_WR)
    try:
        print(len(stream.recv(65536)))
    except ConnectionResetError:
        print(0)
"""


class NetworkFleet(CommandLine):
    """A fleet in *folder* whose programs run on the machines of *net*."""

    def __init__(self, folder: Path, net: Network, hosts: list[Host]) -> None:
        super().__init__(folder)
        self.net = net
        self.hosts = hosts
        self._programs = {program.name: program for program in programs_of(folder, hosts)}
        self.names = [host.name for host in hosts]
        self._running: list[subprocess.Popen[bytes]] = []

    def command(self, *arguments: object) -> list[str]:
        """As the operator's machine runs it, which is the control plane's."""
        return self.net.inside(CONTROL_PLANE, super().command(*arguments))

    def run(self, machine: str, *words: object, says: str = "") -> str:
        """Run Python with *words* on a machine to its end; what it prints."""
        done = subprocess.run(
            self.net.inside(machine, [sys.executable, *words]),
            input=says,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done
        return done.stdout

    def start(self, name: str) -> None:
        """Start the control plane or a host's daemon on its machine."""
        program = self._programs[name]
        with program.log_path.open("wb") as log:
            words = self.net.inside(name, [sys.executable, *program.arguments])
            self._running.append(subprocess.Popen(words, stdout=log, stderr=log))

    def join(self) -> None:
        """Every host joins by a token, from its own machine."""
        said = wait_for(self._tokens, "the control plane answers")
        for name, token in (line.split() for line in said.splitlines()):
            config = self.folder / "hosts" / name / "daemon.toml"
            self.run(name, "-m", "p2pdaemon", "join", "-", "--config", config, says=token)

    def _tokens(self) -> str | None:
        words = self.net.inside(
            CONTROL_PLANE, [sys.executable, "-c", ASK_TOKENS, self.folder, *self.names]
        )
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        return done.stdout if done.returncode == 0 else None

    def alive(self) -> set[str]:
        """The hosts that the control plane believes in."""
        return {host["name"] for host in self.ok("hosts") if host["alive"]}

    def announce(self, machine: str, host: str | None, info_hash: str, **more: str) -> bytes:
        """Announce from a machine as a host, or without a certificate; the answer's body."""
        escaped = "".join(f"%{byte:02x}" for byte in bytes.fromhex(info_hash)[:20])
        query = f"info_hash={escaped}&peer_id={'p' * 20}&port={SWARM_PORT}&left=1&compact=1"
        query += "".join(f"&{key}={value}" for key, value in more.items())
        leaf = self.folder / "hosts" / host / "identity" / "leaf.pem" if host else ""
        address = f"{PREFIX}.1:{ANNOUNCE_PORT}"
        authority = self.folder / "ca" / "fleet.pem"
        return bytes.fromhex(self.run(machine, "-c", ANNOUNCE, address, leaf, authority, query))

    def end(self) -> None:
        """Kill everything."""
        kill_below(self.folder)
        for process in self._running:
            process.kill()
            process.wait()

    def listening(self, machine: str) -> set[str]:
        """Addresses of a machine that listen to streams."""
        out = subprocess.run(
            self.net.inside(machine, ["ss", "-Hltn"]), capture_output=True, text=True, check=True
        )
        local = [line.split()[3].rpartition(":")[0] for line in out.stdout.splitlines()]
        return {address.partition("%")[0] for address in local}  # libtorrent names the device


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkFleet]:
    """A control plane and two hosts in two fault domains, joined, ``web`` 1 rolled out."""
    hosts = plan_hosts(PREFIX, 2, 2)
    machines = {CONTROL_PLANE: f"{PREFIX}.1", STRANGER: f"{PREFIX}.66"}
    folder = tmp_path_factory.mktemp("network") / "dir"
    with network(machines | {host.name: host.address for host in hosts}) as net:
        fleet = NetworkFleet(folder, net, hosts)
        try:
            fleet.run(CONTROL_PLANE, "-m", "p2ptracker", "init", folder)
            write_layout(folder, PREFIX, hosts)
            fleet.start(CONTROL_PLANE)
            fleet.join()
            for host in hosts:
                fleet.start(host.name)
            yield fleet
        finally:
            fleet.end()
            assert processes_below(folder) == {}


@pytest.fixture(scope="module")
def info_hash(fleet: NetworkFleet, tmp_path_factory: pytest.TempPathFactory) -> str:
    """``web`` 1 runs on every host; its v2 info-hash."""
    fleet.publish("web", "1", write_payload(tmp_path_factory.mktemp("payload") / "web", "web"))
    wait_for(fleet.alive, "every host is seen", until=lambda seen: seen == set(fleet.names))
    done = fleet.roll_out("web", "1")
    assert [part["healthy"] for part in done["fault_domains"]] == [1, 1]
    return fleet.ok("release", "show", "web", "1")["info_hash_v2"]


@pytest.mark.usefixtures("info_hash")
def test_a_release_is_rolled_out_over_a_network(fleet: NetworkFleet) -> None:
    for host in fleet.hosts:
        port = int((fleet.folder / f"hosts/{host.name}/state/services/web/port").read_text())
        word = json.loads(fleet.run(STRANGER, "-c", GET, f"http://{host.address}:{port}/"))
        assert (word["service"], word["version"]) == ("web", "1")
    assert fleet.ok("fleet", "versions", "web")["versions"] == {"1": 2}
    assert fleet.ok("logs", "h01", "web")["lines"], "the operator reads a log over the network"


@pytest.mark.usefixtures("info_hash")
def test_every_program_listens_on_the_address_of_its_own_machine_alone(fleet: NetworkFleet) -> None:
    assert fleet.listening(CONTROL_PLANE) == {f"{PREFIX}.1"}
    for host in fleet.hosts:
        assert fleet.listening(host.name) == {host.address}


def test_hosts_announce_at_the_addresses_of_the_inventory(
    fleet: NetworkFleet, info_hash: str
) -> None:
    first, second = fleet.hosts
    assert b"5:peers0:" in fleet.announce(first.name, first.name, info_hash)
    packed = bytes(map(int, first.address.split("."))) + first.swarm_port.to_bytes(2, "big")
    assert b"5:peers6:" + packed in fleet.announce(second.name, second.name, info_hash)


def test_announce_for_another_hosts_address_is_refused(fleet: NetworkFleet, info_hash: str) -> None:
    first, second = fleet.hosts
    said = fleet.announce(first.name, first.name, info_hash, ip=second.address)
    assert said.startswith(b"d14:failure reason"), said
    assert second.address.encode() in said


def test_a_stranger_on_the_network_gets_nothing(fleet: NetworkFleet, info_hash: str) -> None:
    assert fleet.announce(STRANGER, None, info_hash) == b""
    for host in fleet.hosts:
        for port in (host.swarm_port, host.host_port, host.gossip_port):
            got = int(fleet.run(STRANGER, "-c", SILENCE, host.address, port))
            assert got <= ALERT_BYTES, f"{got} bytes of port {port}"


def test_a_lab_opens_in_a_network_namespace(fleet: NetworkFleet, tmp_path: Path) -> None:
    fleet.run(STRANGER, "-m", "p2ptracker", "init", tmp_path / "lab")
    write_layout(tmp_path / "lab", PREFIX, fleet.hosts)
    config = tmp_path / "lab" / "tracker.toml"
    text = config.read_text().replace(f"{PREFIX}.1", f"{PREFIX}.66").replace("false", "true")
    config.write_text(text)
    lab_program = [sys.executable, "-m", "p2ptracker", "run", "--dir", tmp_path / "lab"]
    with running([*BESIDE_A_MACHINE, *fleet.net.inside(STRANGER, lab_program)]) as lab:
        assert lab.stderr is not None
        events: list[str] = []
        while "control-plane-up" not in events:
            events.append(json.loads(lab.stderr.readline())["event"])
    assert any(event.startswith("LAB MODE") for event in events), events
