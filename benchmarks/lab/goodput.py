"""What one plain TCP stream moves over a lab's cable: the measure of every figure."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

from lab.network import Network
from lab.plan import Machine

__all__ = ["Goodput", "measure_goodput"]

_PORT = 5201
_WARM_UP_S = 1.0  # slow start, and the bucket that was full
_MEASURE_S = 4.0

_SERVE = f"""
import socket, sys
with socket.create_server((sys.argv[1], {_PORT})) as listener:
    print("ready", flush=True)
    stream, _ = listener.accept()
    block = bytes(1 << 18)
    try:
        while True:
            stream.sendall(block)
    except OSError:
        pass
"""

_RECEIVE = f"""
import socket, sys, time
with socket.create_connection((sys.argv[1], {_PORT}), timeout=20) as stream:
    began = time.perf_counter()
    got = warm_at = warm = 0
    while True:
        got += len(stream.recv(1 << 18))
        now = time.perf_counter()
        if not warm and now - began >= {_WARM_UP_S}:
            warm, warm_at = got, now
        if now - began >= {_WARM_UP_S + _MEASURE_S}:
            print((got - warm) * 8 / (now - warm_at) / 1e6, got)
            break
"""


@dataclass(frozen=True, kw_only=True)
class Goodput:
    """Of one plain TCP stream with nothing beside it.

    ``efficiency``: of the rate that the cable is shaped to.  ``bytes_per_payload_byte``: what
    passed the cable, headers included, for each byte of payload.
    """

    mbit: float
    efficiency: float
    bytes_per_payload_byte: float


def measure_goodput(network: Network, source: Machine, sink: Machine) -> Goodput:
    """From *source* to *sink*; takes five seconds."""
    server = subprocess.Popen(
        network.inside(source.name, [sys.executable, "-c", _SERVE, source.address]),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        if server.stdout.readline().strip() != "ready":
            raise SystemExit("the source of the goodput measurement did not start")
        before = network.counts()[sink.name]
        words = network.inside(sink.name, [sys.executable, "-c", _RECEIVE, source.address])
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, timeout=60)
        mbit, payload_bytes = (float(word) for word in done.stdout.split())
        passed_bytes = network.counts()[sink.name].down_bytes - before.down_bytes
    finally:
        server.kill()
        server.wait()
    return Goodput(
        mbit=mbit,
        efficiency=mbit / min(source.mbit, sink.mbit),
        bytes_per_payload_byte=passed_bytes / payload_bytes,
    )
