"""How fast this machine's loopback moves bytes: what the demo's times are measured against.

All hosts of the demo share one machine, so that the bytes of all of them pass one loopback.  The
bound is the time that one plain TCP stream needs for the bytes that every host must get.
"""

from __future__ import annotations

import socket
import threading
import time

__all__ = ["limit_s", "measure_goodput"]

_SAMPLE_BYTES = 256 * 1024 * 1024  # a tenth of a second and more: longer than one time slice
_BLOCK_BYTES = 256 * 1024


def measure_goodput(address: str) -> float:
    """Bytes per second of one TCP stream from *address* to itself, both ends in this process."""
    with socket.create_server((address, 0)) as server:
        sender = threading.Thread(target=_send, args=(server.getsockname(),))
        started = time.perf_counter()
        sender.start()
        stream, _ = server.accept()
        buffer = bytearray(_BLOCK_BYTES)
        received = 0
        with stream:
            while count := stream.recv_into(buffer):
                received += count
        sender.join()
    assert received == _SAMPLE_BYTES
    return received / (time.perf_counter() - started)


def limit_s(bytes_per_host: int, hosts: int, goodput_bytes_per_s: float) -> float:
    """Seconds in which the shared loopback moves what all hosts must get."""
    return bytes_per_host * hosts / goodput_bytes_per_s


def _send(where: tuple[str, int]) -> None:
    block = bytes(_BLOCK_BYTES)
    with socket.create_connection(where) as stream:
        for _ in range(_SAMPLE_BYTES // _BLOCK_BYTES):
            stream.sendall(block)
