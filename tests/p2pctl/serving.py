"""A control plane in a thread of the test, for commands that run in this process."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
import trio

from p2ptracker.control_plane import open_control_plane
from p2ptracker.run import run_tasks
from tests.trust_folder import add_trust

__all__ = ["make_fleet", "serving"]


def make_fleet(folder: Path) -> Path:
    """The folder of a fleet without hosts."""
    add_trust(folder)
    ports = "api_port = 0\nannounce_port = 0\nupload_port = 0\n"
    (folder / "tracker.toml").write_text(f'address = "127.0.0.1"\n{ports}')
    (folder / "inventory.json").write_text("[]")
    return folder


@contextmanager
def serving(folder: Path) -> Iterator[None]:
    """Serve the fleet in *folder*, and say so in its ``fleet.json``."""
    is_up, stopping = threading.Event(), trio.Event()
    before = structlog.get_config()
    # Not among what the commands print, though it is the same process.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(io.StringIO()))
    tokens: list[trio.lowlevel.TrioToken] = []

    async def serve() -> None:
        tokens.append(trio.lowlevel.current_trio_token())
        async with open_control_plane(folder) as plane, trio.open_nursery() as nursery:
            ports = await nursery.start(run_tasks, plane)
            document = {"api": f"https://127.0.0.1:{ports.api}", "announce": "", "hosts": {}}
            (folder / "fleet.json").write_text(json.dumps(document))
            is_up.set()
            await stopping.wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    try:
        assert is_up.wait(30), "the control plane did not start"
        yield
    finally:
        tokens[0].run_sync_soon(stopping.set)
        thread.join(30)
        structlog.configure(**before)
