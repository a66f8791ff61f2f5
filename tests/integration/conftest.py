"""One fleet for the tests of a module; each test uses services or versions of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

import pytest

from tests.integration.fleet import Fleet, running_fleet
from tests.integration.payloads import Behaviour, Publish, write_payload


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Six hosts in three fault domains, up."""
    with running_fleet(tmp_path_factory.mktemp("fleet") / "dir") as fleet:
        yield fleet


@pytest.fixture(scope="module")
def publish(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Publish:
    """Publish a version of ``web`` that behaves as asked; returns its digest."""

    def publish(version: str, **how: Unpack[Behaviour]) -> str:
        tree = write_payload(tmp_path_factory.mktemp("payload"), "web", note=version, **how)
        return fleet.publish("web", version, tree)["manifest_digest"]

    return publish


@pytest.fixture(scope="module")
def deployed(fleet: Fleet, publish: Publish) -> None:
    """``web`` 1 runs everywhere."""
    publish("1")
    fleet.roll_out("web", "1")


@pytest.fixture(scope="module")
def open_root() -> Iterator[Path]:
    """As long as the fleet: a version that waits for a gate is gone back to in later tests."""
    with tempfile.TemporaryDirectory(prefix="p2pdeploy-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def open_folder(open_root: Path) -> Path:
    """A folder that a service sees whatever its user: those of pytest are closed to others."""
    folder = Path(tempfile.mkdtemp(dir=open_root))
    folder.chmod(0o755)
    return folder


@pytest.fixture
def gate(open_folder: Path) -> Path:
    """A gate that is closed; touch it to open it."""
    return open_folder / "gate"
