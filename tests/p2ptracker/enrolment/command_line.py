"""An operator's commands against the control plane of a test."""

from __future__ import annotations

import json

import trio

from p2pctl.cli import run

__all__ = ["p2pctl"]


async def p2pctl(tracker, capsys, *words: str) -> tuple[int, str]:
    """Run p2pctl in a thread against the running control plane."""
    api = f"https://127.0.0.1:{tracker.ports.api}"
    fleet = {"api": api, "announce": "", "hosts": {}}
    (tracker.folder / "fleet.json").write_text(json.dumps(fleet))
    arguments = ["--dir", str(tracker.folder), *words]
    capsys.readouterr()
    code = await trio.to_thread.run_sync(run, arguments)
    lines = capsys.readouterr().out.splitlines(keepends=True)
    # This process is the control plane as well, and logs to the same place.
    return code, "".join(line for line in lines if not line.startswith("20"))
