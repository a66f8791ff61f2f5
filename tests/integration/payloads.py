"""Payloads of a tiny HTTP service that is well, or ill in one known way.

The service answers ``GET /`` with its version and its pid, so that a test sees from outside which
process serves.  All timeouts are short: a test of a bad version takes seconds.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Literal, Protocol, TypedDict, Unpack

__all__ = ["Behaviour", "Mode", "Publish", "write_payload", "write_payload_of_another_kind"]

# serves: is well.  exits: ends at once.  unhealthy: never well.  dies: ends soon after it was well.
# gated: well from the moment its gate file exists, so that a test decides how long a start takes.
Mode = Literal["serves", "exits", "unhealthy", "dies", "gated"]


class Behaviour(TypedDict, total=False):
    """What a payload may be told; the arguments of :func:`write_payload` of these names."""

    mode: Mode
    only_on: str
    gate: Path
    data_bytes: int
    bake_s: float
    start_timeout_s: float


class Publish(Protocol):
    """Publishes a version of a test's service; returns its manifest digest."""

    def __call__(self, version: str, **how: Unpack[Behaviour]) -> str: ...


_SERVER = """\
import json, os, socket, sys

HOST, PORT, MODE = os.environ["HOST"], int(os.environ["PORT"]), os.environ["MODE"]
if os.environ["ONLY_ON"] not in ("", HOST):
    MODE = "serves"
WORD = {"version": os.environ["VERSION"], "service": os.environ["SERVICE"], "pid": os.getpid()}


def is_well(checks):
    global MODE
    if MODE == "dies" and checks > 2:
        sys.exit(4)
    if MODE == "gated" and os.path.exists(os.environ["GATE"]):
        MODE = "serves"  # a gate that closes again holds only those that start later
    return MODE not in ("unhealthy", "gated")


def main():
    print(WORD, flush=True)
    if MODE == "exits":
        sys.exit("exits at once, as it was built to")
    checks = 0
    listener = socket.create_server((HOST, PORT))
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(2)
            try:
                path = connection.recv(4096).split(b" ")[1]
                checks += path == b"/healthz"
                status = "200 OK" if is_well(checks) else "503 Service Unavailable"
                body = json.dumps(WORD)
                head = f"HTTP/1.1 {status}\\r\\nContent-Length: {len(body)}\\r\\nConnection: close"
                connection.sendall(f"{head}\\r\\n\\r\\n{body}".encode())
            except (OSError, IndexError):
                pass  # whoever asked has left, or does not speak HTTP


main()
"""


def write_payload(
    folder: Path,
    service: str,
    *,
    mode: Mode = "serves",
    only_on: str = "",
    gate: Path | None = None,
    note: str = "",
    data_bytes: int = 0,
    bake_s: float = 0.3,
    start_timeout_s: float = 15.0,
) -> Path:
    """Write a payload into *folder* and return it.

    Args:
        folder: Made if need be.
        service: Its name.
        mode: How it behaves.
        only_on: The address of the one host where it behaves so; elsewhere it is well.
        gate: The file that a gated one waits for; ``$HOST`` in it is the host's address.
        note: Goes into the tree, so that two payloads alike differ in their bytes.
        data_bytes: Size of a file of random bytes beside it, the same for every call.
        bake_s: As in service.toml.
        start_timeout_s: As in service.toml.
    """
    assert (mode == "gated") == (gate is not None), "a gate belongs to a gated service"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.py").write_text(_SERVER)
    (folder / "note").write_text(note)
    if data_bytes:
        (folder / "data").write_bytes(random.Random(data_bytes).randbytes(data_bytes))
    names = {name: f"${name}" for name in ("HOST", "PORT", "VERSION", "SERVICE")}
    env = names | {"MODE": mode, "ONLY_ON": only_on, "GATE": str(gate or "")}
    table = ", ".join(f"{name} = {json.dumps(value)}" for name, value in env.items())
    (folder / "service.toml").write_text(
        f"""\
[service]
name = "{service}"
[run]
command = ["python3", "-I", "-S", "server.py"]
env = {{ {table} }}
stop_timeout_s = 3
[health]
http = "http://$HOST:$PORT/healthz"
interval_s = 0.2
start_timeout_s = {start_timeout_s}
[activation]
bake_s = {bake_s}
"""
    )
    return folder


def write_payload_of_another_kind(folder: Path, service: str) -> Path:
    """A payload as a user would bring one: a program of the system, checked over TCP."""
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("<p>mine</p>\n")
    (folder / "service.toml").write_text(
        f"""\
[service]
name = "{service}"
[run]
command = ["python3", "-m", "http.server", "--bind", "$HOST", "$PORT"]
[health]
tcp = "$HOST:$PORT"
[activation]
bake_s = 0.3
"""
    )
    return folder
