"""A host's folders, and releases of a tiny service staged in them."""

from __future__ import annotations

import os
import random
import shutil
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import trio

from p2pdaemon import log
from p2pdaemon.config import DaemonConfig
from p2pdaemon.launch import Launches
from p2pdaemon.service_process import Restage, ServiceProcess
from p2pdaemon.services.users import ServiceUsers
from p2pdaemon.store import ReleaseStore
from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import CellId, FaultDomain, HostName, ServiceName, Version
from p2pdeploy.messages.orders import Build
from p2pdeploy.payload import stage
from p2pdeploy.payload.build import build
from p2pdeploy.payload.service_spec import SERVICE_PATH
from p2pdeploy.testing.orders import CELL
from p2pdeploy.topology import Host

HELLO = ServiceName("hello")

# A service has a user of its own when the tests run as root: it cannot use an interpreter that
# lies in root's home, as the tests' own may.
PYTHON = shutil.which("python3", path=SERVICE_PATH) or sys.executable

SERVER = """\
import os, socket, sys, time
behaviour = open("behaviour").read()
if behaviour == "exit":
    sys.exit(3)
server = socket.create_server((os.environ["HOST"], int(os.environ["PORT"])))
answered = 0
while True:
    client, _ = server.accept()
    with client:
        client.recv(4096)
        answered += 1
        if behaviour == "die-in-bake" and answered > 2:
            sys.exit(4)
        sick = behaviour == "sick" or (behaviour == "sicken" and answered > 2)
        status = b"500 Sick" if sick else b"200 OK"
        body = os.environ["VERSION"].encode()
        head = b"HTTP/1.1 %s\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n"
        client.sendall(head % (status, len(body)) + body)
"""

SERVICE_TOML = """\
[service]
name = "{name}"
[run]
command = ["{python}", "-I", "-S", "server.py"]
env = {{ HOST = "$HOST", PORT = "$PORT", VERSION = "$VERSION" }}
stop_timeout_s = 2
[health]
http = "http://$HOST:$PORT/healthz"
interval_s = 0.1
timeout_s = 1
unhealthy_after = {unhealthy_after}
start_timeout_s = {start_timeout_s}
"""


def a_tree(folder: Path, behaviour: str, *, name: str = HELLO, start_timeout_s: float = 5) -> Path:
    """A payload whose service behaves as told."""
    # Of one that dies the exit shall be what is told, however late it is heard of.
    unhealthy_after = 100 if behaviour == "die-in-bake" else 2
    folder.mkdir(parents=True)
    (folder / "server.py").write_text(SERVER)
    (folder / "behaviour").write_text(behaviour)
    text = SERVICE_TOML.format(
        name=name,
        python=PYTHON,
        unhealthy_after=unhealthy_after,
        start_timeout_s=start_timeout_s,
    )
    (folder / "service.toml").write_text(text)
    return folder


def stage_release(store: ReleaseStore, tree: Path, version: str, name: str = HELLO) -> Build:
    """Publish *tree* straight into *store*, whole and verified."""
    built = build(tree, ServiceName(name))
    digest = built.manifest_digest
    store.write_manifest(digest, built.manifest_bytes)
    store.write_chunk_index(digest, built.manifest, built.chunk_index_bytes)
    stage.prepare(store.root(digest), built.manifest)
    for number, blob in enumerate(built.manifest.blobs):
        data = built.sources.pread(number, 0, blob.size_bytes)
        stage.blob_path(store.root(digest), built.manifest, number).write_bytes(data)
    built.sources.close()
    stage.finish(store.root(digest), built.manifest)
    return Build(version=Version(version), digest=digest)


def free_address(low: int = 10) -> str:
    """An address of 127.0.0.0/8 that most likely nobody else uses."""
    return f"127.{random.randint(20, 250)}.{random.randint(1, 250)}.{low}"


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What is logged during the test, in place of standard error."""
    entries: list[dict[str, object]] = []
    monkeypatch.setattr(log, "emit", entries.append)
    return entries


@pytest.fixture
def config(tmp_path: Path) -> DaemonConfig:
    """One host; nothing listens on its control plane's address."""
    address = free_address()
    return DaemonConfig(
        name=HostName("h01"),
        address=address,
        environment="lab",
        machine_function="web",
        cell=CellId("lab.web.c0"),
        fault_domain=FaultDomain("fd0"),
        state_dir=tmp_path / "state",
        api=f"https://{address.rpartition('.')[0]}.1:7400",
        identity_dir=tmp_path / "identity",
        service_path=os.defpath,
    )


def config_of(host: HostName, folder: Path) -> DaemonConfig:
    """Of a host in the cell that the stand-ins of orders are made for; its folder is *folder*."""
    return DaemonConfig(
        name=host,
        address="127.9.9.3",
        environment="lab",
        machine_function="web",
        cell=CELL,
        fault_domain=FaultDomain("fd"),
        state_dir=folder,
        api="https://127.0.0.1:1",
    )


def fleet_of(config: DaemonConfig) -> Path:
    """The folder of the fleet that the host is enrolled in."""
    return config.identity_dir.parent / "fleet"


def host_of(config: DaemonConfig) -> Host:
    """The host of *config*, as the inventory has it."""
    names = [name for name in Host.__struct_fields__ if name != "enrolment"]
    return Host(**{name: getattr(config, name) for name in names})


@pytest.fixture
def store(config: DaemonConfig) -> Iterator[ReleaseStore]:
    config.state_dir.mkdir()
    yield ReleaseStore(config.state_dir)
    for folder, _, _ in os.walk(config.state_dir):
        os.chmod(folder, stat.S_IRWXU)
    shutil.rmtree(config.state_dir)


@pytest.fixture
def release(store: ReleaseStore, tmp_path: Path) -> Callable[..., Build]:
    """Stage a release: ``release("1.0.0", "good")``."""

    def make(version: str, behaviour: str = "good", **more: object) -> Build:
        tree = a_tree(tmp_path / "trees" / version, f"{behaviour}", **more)  # type: ignore[arg-type]
        (tree / "version").write_text(version)
        return stage_release(store, tree, version)

    return make


async def nobody_has_it(_service: ServiceName, _build: Build) -> None:
    """Stage nothing anew: the control plane and all neighbours are away."""
    raise UnavailableError("there is nobody to stage it from")


def a_process(
    config: DaemonConfig,
    store: ReleaseStore,
    service: ServiceName = HELLO,
    *,
    restage: Restage = nobody_has_it,
    kind: type[ServiceProcess] = ServiceProcess,
    is_root: bool | None = None,
) -> ServiceProcess:
    """The handle on the service's processes, as a daemon makes it."""
    users = ServiceUsers(config.state_dir / "journal" / "users", config.name, is_root=is_root)
    launches = Launches(service, config=config, store=store, users=users, rng=random.Random(1))
    return kind(launches, store=store, restage=restage)


@pytest.fixture
async def process(config: DaemonConfig, store: ReleaseStore) -> AsyncIterator[ServiceProcess]:
    """The service's process; stopped after the test."""
    process = a_process(config, store)
    yield process
    with trio.CancelScope(shield=True):
        await process.stop()
