"""A cell of two hosts: a daemon as a process, and the test in the place of everybody else."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import h11
import msgspec
import trio

import p2pdaemon
import p2pdeploy
from p2pdaemon.config import DaemonConfig
from p2pdeploy.errors import UnavailableError
from p2pdeploy.gossip.shell import GossipShell
from p2pdeploy.gossip.state import attestation_key
from p2pdeploy.host_client import HostAddress, ask_status
from p2pdeploy.ids import HostName, RolloutId
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.gossip import Member
from p2pdeploy.messages.orders import Build, Grant
from p2pdeploy.planning.planner import CellFacts, Limits, plan_cell
from p2pdeploy.testing.fleet_keys import FleetKeys
from p2pdeploy.testing.orders import a_go, orders_of
from p2pdeploy.topology import Host
from p2pdeploy.trust.envelope import Sealed
from p2pdeploy.trust.identity import HostId
from p2pdeploy.trust.streams import accept_peer
from p2pdeploy.trust.tls import server_context
from p2ptracker.authority.cell_rings import ring_of
from p2ptracker.authority.folder import open_trust
from tests.daemon_toml import write_daemon_toml
from tests.p2pdaemon.conftest import HELLO, fleet_of, host_of
from tests.trust_folder import add_trust, control_plane_files, enrol, operator_files

__all__ = ["PATIENCE_S", "Cell", "as_host", "serve_control_plane"]

PATIENCE_S = 30.0  # a process starts, and gossip brings it everything, on a busy machine
SOURCES = [str(Path(package.__path__[0]).parent) for package in (p2pdeploy, p2pdaemon)]


def as_host(member: Member, config: DaemonConfig) -> Host:
    """Another host of the same cell."""
    return msgspec.structs.replace(
        host_of(config),
        name=member.name,
        address=member.address,
        fault_domain=member.fault_domain,
        gossip_port=member.gossip_port,
        swarm_port=member.swarm_port,
    )


def _enrolled(config: DaemonConfig) -> FleetKeys:
    """Make a fleet with this one host in it; the keys of everybody."""
    add_trust(fleet_of(config))
    enrol(fleet_of(config), host_of(config), config.identity_dir)
    trust = open_trust(fleet_of(config))
    return FleetKeys(trust.fleet, trust.keys)


class Cell:
    """A cell of two: the daemon under test, and this test in the place of everybody else."""

    def __init__(self, config: DaemonConfig, folder: Path) -> None:
        self.config = config
        self.keys = _enrolled(config)
        self.path = write_daemon_toml(folder, config)
        self.me = Member(
            name=HostName("h00"),
            address=config.address.rpartition(".")[0] + ".200",
            gossip_port=config.gossip_port,
            swarm_port=config.swarm_port,
            fault_domain=config.fault_domain,
        )
        self.gossip = GossipShell(
            me=self.me,
            cell=config.cell,
            rng=random.Random(1),
            verify=self.keys.open,
            keys=ring_of(open_trust(fleet_of(config)), config.cell),
        )
        self.host = HostAddress(
            config.name,
            config.address,
            config.host_port,
            identity=operator_files(fleet_of(config), "ann", "viewer"),
        )
        self._lease_seq = 0

    # -- the daemon --------------------------------------------------------------------------

    @asynccontextmanager
    async def daemon(self) -> AsyncGenerator[subprocess.Popen[bytes]]:
        """Run the daemon; it is killed at the end unless it ended before."""
        process = self.start("run")
        try:
            with trio.fail_after(PATIENCE_S):
                while not await self.answers():
                    assert process.poll() is None, "the daemon ended"
            yield process
        finally:
            process.kill()
            process.wait()

    def start(self, command: str) -> subprocess.Popen[bytes]:
        with (self.path.parent / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "p2pdaemon", command, "--config", str(self.path)],
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(SOURCES)},
            )

    async def answers(self) -> bool:
        try:
            await ask_status(self.host)
        except UnavailableError:
            await trio.sleep(0.05)
            return False
        return True

    # -- the cell ----------------------------------------------------------------------------

    def say(self, message: Sealed) -> None:
        self.gossip.publish(self.keys.seal(message))

    def order(self, build: Build, baseline: Build | None, plan_seq: int, bake_s: float) -> None:
        """Tell the cell to install *build* on the one host."""
        facts = CellFacts(
            cell=self.config.cell,
            hosts=(host_of(self.config),),
            alive=frozenset({self.config.name}),
            evidence={},
            baseline=baseline,
            plan_seq_max=plan_seq - 2,
        )
        cell_plan = plan_cell(
            facts,
            service=HELLO,
            build=build,
            rollout_id=RolloutId(f"r{plan_seq}"),
            limits=Limits(bake_s=bake_s, settle_s=0.1, stop_timeout_s=5.0, start_timeout_s=10.0),
            now=time.time(),
        )
        assert cell_plan is not None, "the host is alive"
        assert cell_plan.plan.plan_seq == plan_seq
        for order in orders_of(cell_plan):
            self.say(order)
        self.go(plan_seq)

    def go(self, plan_seq: int) -> None:
        self._lease_seq += 1
        grant = Grant(service=HELLO, plan_seq=plan_seq, phase="activate", up_to=0)
        go = a_go(grant, lease_seq=self._lease_seq, issued_at=time.time())
        self.say(msgspec.structs.replace(go, cell=self.config.cell))

    async def attested(self, wanted: Callable[[Attestation], bool]) -> Attestation:
        """The host's newest word, once it is as wanted."""
        last: Attestation | None = None
        with trio.move_on_after(PATIENCE_S):
            while True:
                item = self.gossip.state.get(attestation_key(HELLO, self.config.name))
                if item is not None:
                    message = self.keys.open(item.envelope)
                    assert isinstance(message, Attestation)
                    last = message
                    if wanted(last):
                        return last
                await trio.sleep(0.02)
        raise AssertionError(f"last word: {last}\n{(self.path.parent / 'log').read_text()}")


async def serve_control_plane(cell: Cell, listener: trio.SocketListener) -> None:
    """Only what a host can't do without: the time, and who is in the cell."""
    hosts = [as_host(member, cell.config) for member in [cell.me]]

    documents = {
        "/v1/time": lambda: json.dumps({"now": time.time()}).encode(),
        f"/v1/cells/{cell.config.cell}/hosts": lambda: msgspec.json.encode(hosts),
    }

    files = control_plane_files(fleet_of(cell.config), listener.socket.getsockname()[0])
    context = server_context(files, demands_certificate=True)

    async def answer(plain: trio.SocketStream) -> None:
        stream, peer = await accept_peer(plain, context)
        assert isinstance(peer.identity, HostId)
        connection = h11.Connection(h11.SERVER)
        document = None
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Request):
                    document = documents.get(event.target.decode())
                elif isinstance(event, h11.EndOfMessage):
                    body = document() if document else b"{}"
                    response = h11.Response(
                        status_code=200 if document else 404,
                        headers=[("Content-Length", str(len(body)))],
                    )
                    for part in (response, h11.Data(data=body), h11.EndOfMessage()):
                        await stream.send_all(connection.send(part) or b"")
                    connection.start_next_cycle()
                elif isinstance(event, h11.ConnectionClosed):
                    return

    await trio.serve_listeners(answer, [listener])
