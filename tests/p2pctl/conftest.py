"""Runs of ``p2pctl`` inside this process, a small real fleet, and what its commands work on."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from p2pctl.cli import run
from p2pdeploy.trust.private_files import write_private
from p2pdeploy.trust.signing import SigningKey
from tests.p2pctl.serving import make_fleet, serving
from tests.p2ptracker.rollout_bench import World, open_world


class Run(NamedTuple):
    """How one run of p2pctl ended."""

    code: int
    out: str
    err: str

    def document(self) -> Any:
        """The one JSON document on stdout."""
        lines = self.out.splitlines()
        assert len(lines) == 1, self
        return json.loads(lines[0])

    @property
    def error_code(self) -> str:
        """The code of the error, which is all that was said."""
        return self.document()["error"]["code"]


P2pctl = Callable[..., Run]


@pytest.fixture
def p2pctl(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> P2pctl:
    """Run one command line; no fleet is named by the environment."""
    monkeypatch.delenv("P2PDEPLOY_DIR", raising=False)

    def call(*arguments: object) -> Run:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Run(code, out, err)

    return call


@pytest.fixture(scope="module")
def fleet_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a real fleet of two hosts, up; taken down at the end."""
    folder = tmp_path_factory.mktemp("fleet")
    up = ["up", "--hosts", "2", "--fault-domains", "2", "--detach", "--dir", str(folder)]
    try:
        assert run(up) == 0
        yield folder
    finally:
        assert run(["down", "--dir", str(folder)]) == 0


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    """A real control plane that nothing listens for, and hosts that say what a test makes them."""
    async with open_world(tmp_path / "fleet") as opened:
        yield opened


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    """The key of somebody who approves rollouts; it lies in ``my.key``."""
    made = SigningKey.generate(role="rollout")
    write_private(tmp_path / "my.key", made.to_pem())
    return made


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a fleet without hosts, whose control plane serves in this process."""
    folder = make_fleet(tmp_path_factory.mktemp("serving") / "fleet")
    with serving(folder):
        yield folder


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    """A payload that lint and publish accept."""
    tree = tmp_path / "payload"
    tree.mkdir()
    (tree / "server.py").write_text("print('serving')\n")
    (tree / "service.toml").write_text(
        '[service]\nname = "hello"\n'
        '[run]\ncommand = ["python3", "server.py"]\n'
        '[health]\ntcp = "$HOST:$PORT"\n'
    )
    return tree
