from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from p2pdaemon.services.records import RunSpec
from p2pdaemon.services.runner import ServiceRunner
from p2pdeploy.ids import Digest, Version

PATIENCE_S = 15.0  # for a condition on a busy machine; reaching it is a failure


@pytest.fixture
def a_run(tmp_path: Path) -> Callable[..., RunSpec]:
    """Build the order to run a Python program; keyword arguments replace fields."""

    def build(program: str = "", **fields: object) -> RunSpec:
        settings: dict[str, object] = {
            "argv": (sys.executable, "-I", "-S", "-c", program),
            "cwd": str(tmp_path),
            "env": {"PATH": os.defpath, "HOME": str(tmp_path)},
            "stop_timeout_s": 5.0,
            "stdout_path": str(tmp_path / "out.log"),
            "stderr_path": str(tmp_path / "err.log"),
            "digest": Digest("ab" * 32),
            "version": Version("1.0.0"),
        }
        return RunSpec(**{**settings, **fields})  # type: ignore[arg-type]

    return build


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[ServiceRunner]:
    """A runner whose service is stopped after the test."""
    runner = ServiceRunner(tmp_path / "svc")
    yield runner
    with trio.CancelScope(shield=True):
        await runner.stop(0.0)


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 -- other processes set no trio.Event
            await trio.sleep(0.005)


@pytest.fixture(name="until")
def _until() -> Callable[..., object]:
    return until


@pytest.fixture
def said(tmp_path: Path) -> Callable[[], list[str]]:
    """Return the whole lines that the service has printed so far."""

    def read() -> list[str]:
        path = tmp_path / "out.log"
        text = path.read_text() if path.exists() else ""
        return text.split("\n")[:-1]

    return read
