"""The folder of a fleet, a real control plane on it, and a payload to publish."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from p2pdeploy.ids import FaultDomain, HostName, ServiceName
from p2pdeploy.payload.build import Built, build
from p2pdeploy.topology import Host
from p2ptracker.authority.folder import TrustPaths
from tests.p2ptracker.rollout_bench import World, open_world
from tests.p2ptracker.tracker_bench import CELL, Client, Tracker, open_http, run_tracker
from tests.trust_folder import add_trust

SERVICE_TOML = """
[service]
name = "hello"
[run]
command = ["python3", "-c", "pass"]
[health]
tcp = "$HOST:$PORT"
"""


def a_host(number: int) -> Host:
    return Host(
        name=HostName(f"h{number:02}"),
        address=f"127.88.1.{9 + number}",
        environment="lab",
        machine_function="web",
        cell=CELL,
        fault_domain=FaultDomain(f"fd{number % 2}"),
        gossip_port=7946,
        swarm_port=6881,
        host_port=7947,
    )


@pytest.fixture
def fleet_dir(tmp_path: Path) -> Path:
    """A fleet's folder with four hosts in one cell; every port is a free one."""
    folder = tmp_path / "fleet"
    add_trust(folder)
    (folder / "tracker.toml").write_text(
        'address = "127.0.0.1"\napi_port = 0\nannounce_port = 0\nupload_port = 0\nlab = true\n'
    )
    hosts = [a_host(number) for number in range(1, 5)]
    (folder / "inventory.json").write_bytes(msgspec.json.encode(hosts))
    return folder


@pytest.fixture
def client_of() -> Callable[[Path, dict[str, int]], AbstractAsyncContextManager[Client]]:
    """A client of a control plane that runs as a process of its own."""

    @asynccontextmanager
    async def connect(folder: Path, ports: dict[str, int]) -> AsyncGenerator[Client]:
        identity = TrustPaths(folder).operator_files()
        async with open_http(identity, ports["api"]) as http:
            yield Client(identity, http)

    return connect


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    """A control plane without listeners, and hosts that say what a test makes them say."""
    async with open_world(tmp_path / "fleet") as opened:
        yield opened


@pytest.fixture
async def tracker(fleet_dir: Path) -> AsyncGenerator[Tracker]:
    async with run_tracker(fleet_dir) as running:
        yield running


@pytest.fixture
def started() -> Callable[[Path], AbstractAsyncContextManager[Tracker]]:
    """For tests that stop and start it themselves."""
    return run_tracker


LARGE_BYTES = 1_500_000  # some twenty chunks


def write_tree(folder: Path, seed: int, *, extra: bytes, large_bytes: int) -> Path:
    """A payload of one large file and some small ones; the same seed gives the same bytes."""
    folder.mkdir(parents=True)
    rng = random.Random(seed)
    (folder / "service.toml").write_text(SERVICE_TOML)
    data, middle = rng.randbytes(large_bytes), large_bytes // 3
    (folder / "data.bin").write_bytes(data[:middle] + extra + data[middle:])
    (folder / "bin").mkdir()
    for number in range(5):
        (folder / "bin" / f"tool{number}").write_bytes(rng.randbytes(10_000))
    (folder / "empty").touch()
    return folder


@pytest.fixture
def payload(tmp_path: Path) -> Callable[..., Built]:
    """Builds a payload from a seed; ``extra`` is inserted into its large file."""

    def make(seed: int = 1, *, extra: bytes = b"", large_bytes: int = LARGE_BYTES) -> Built:
        tree = tmp_path / "payloads" / f"{seed}-{len(extra)}"
        if not tree.exists():
            write_tree(tree, seed, extra=extra, large_bytes=large_bytes)
        return build(tree, ServiceName("hello"))

    return make
