"""Wait for what others do: always bounded, and a failure tells what was waited for and seen."""

from __future__ import annotations

import http.client
import ssl
import subprocess
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from p2pctl.polling import poll

__all__ = ["DEADLINE_S", "ask", "running", "wait_for"]

T = TypeVar("T")

# A deadline that a loaded machine meets; nothing waits this long unless it is broken.
DEADLINE_S = 60.0
_LOOK_EVERY_S = 0.1
_ASK_TIMEOUT_S = 3.0


def wait_for(
    look: Callable[[], T | None],
    what: str,
    until: Callable[[T], object] = bool,
    timeout_s: float = DEADLINE_S,
    every_s: float = _LOOK_EVERY_S,
) -> T:
    """Look again and again; return what is seen once it is as wanted.

    Args:
        look: None means that there is nothing to see yet.
        what: What is waited for, for the message.
        until: Says whether what is seen is as wanted; by default it has to be true.
        timeout_s: After this long the test fails, and says what was seen last.
        every_s: Between two looks.
    """
    seen: T | None = None
    for _ in poll(timeout_s, every_s):
        seen = look()
        if seen is not None and until(seen):
            return seen
    raise AssertionError(f"not within {timeout_s:g} s: {what}; last seen: {seen!r}")


def ask(
    netloc: str,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> tuple[int, bytes]:
    """One HTTP request, over TLS with a *context*; status and body."""
    connection = (
        http.client.HTTPConnection(netloc, timeout=_ASK_TIMEOUT_S)
        if context is None
        else http.client.HTTPSConnection(netloc, timeout=_ASK_TIMEOUT_S, context=context)
    )
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@contextmanager
def running(words: Sequence[str]) -> Generator[subprocess.Popen[bytes]]:
    """Run a command beside the test; at the end it is killed if it has not ended by itself."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()
