"""The example payload keeps the contract and does what its README says."""

from __future__ import annotations

import http.client
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pdeploy.ids import ServiceName
from p2pdeploy.payload import stage
from p2pdeploy.payload.build import build
from p2pdeploy.payload.service_spec import SERVICE_PATH
from p2pdeploy.payload.service_toml import lint_tree, read_service_toml, service_environment

HELLO = Path(__file__).parents[3] / "examples/hello"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def running(tree: Path, state: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the payload in *tree* as a daemon would, until it says that it listens."""
    port = free_port()
    spec = read_service_toml(tree)
    variables = {"HOST": "127.0.0.1", "PORT": str(port), "STATE_DIR": str(state)}
    variables |= {"SERVICE": "hello", "VERSION": "1.2.3"}
    path = f"{Path(sys.executable).parent}:{SERVICE_PATH}"
    with subprocess.Popen(
        spec.run.command,
        cwd=tree,
        env=service_environment(spec, variables, path=path),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == f"hello 1.2.3 listens on 127.0.0.1:{port}\n"
            yield process, port
        finally:
            process.kill()


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def staged(tmp_path: Path, *, broken: bool) -> Path:
    """The example published and staged, as a host has it: read-only."""
    source, root = tmp_path / "hello", tmp_path / "release"
    shutil.copytree(HELLO, source, ignore=shutil.ignore_patterns("__pycache__"))
    if broken:
        (source / "broken").touch()
    built = build(source, ServiceName("hello"))
    root.mkdir()
    stage.prepare(root, built.manifest)
    with built.sources as sources:
        for number, blob in enumerate(built.manifest.blobs):
            path = stage.blob_path(root, built.manifest, number)
            path.write_bytes(sources.pread(number, 0, blob.size_bytes))
    stage.finish(root, built.manifest)
    return root / "tree"


def test_the_example_has_no_faults_and_about_ten_lines() -> None:
    assert lint_tree(HELLO) == []
    assert len((HELLO / "service.toml").read_text().splitlines()) <= 10


@pytest.mark.processes
@pytest.mark.parametrize(("broken", "status"), [(False, 200), (True, 500)])
def test_the_staged_example_serves_its_version_and_health(
    tmp_path: Path, broken: bool, status: int
) -> None:
    with running(staged(tmp_path, broken=broken), tmp_path) as (_, port):
        assert get(port, "/version") == (200, "1.2.3\n")
        assert get(port, "/healthz")[0] == status
        assert get(port, "/")[0] == 404


@pytest.mark.processes
def test_it_stops_promptly_and_cleanly_even_while_a_client_is_connected(tmp_path: Path) -> None:
    with running(HELLO, tmp_path) as (process, port):
        idle = socket.create_connection(("127.0.0.1", port))
        assert get(port, "/version")[0] == 200
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert time.monotonic() - began < 3
        idle.close()
