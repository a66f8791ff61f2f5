"""Carry out one health check: HTTP, TCP or a program.

An unhealthy service is a result, never an exception, and every wait ends with ``timeout_s``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

import h11
import msgspec
import trio

from p2pdaemon.services import take_user
from p2pdaemon.services.health import CheckResult
from p2pdaemon.services.http_check import get_status
from p2pdaemon.services.start_child import SERVICE_UMASK
from p2pdaemon.services.users import ServiceUser

__all__ = ["Check", "ExecCheck", "HttpCheck", "TcpCheck", "check_once"]

OUTPUT_BYTES_MAX = 2_048  # the end of what a checking program says
DETAIL_CHARS_MAX = 300  # one line of a status table
OUTPUT_GRACE_S = 0.2  # a process that escaped the check may hold the pipe open


class HttpCheck(msgspec.Struct, frozen=True, tag="http"):
    """GET answers 2xx."""

    url: str


class TcpCheck(msgspec.Struct, frozen=True, tag="tcp"):
    """A connection is accepted."""

    host: str
    port: int


class ExecCheck(msgspec.Struct, frozen=True, tag="exec"):
    """The program exits with 0; environment, working directory and user are the service's."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    user: ServiceUser | None = None
    state_dir: str = ""


Check = HttpCheck | TcpCheck | ExecCheck


async def check_once(
    check: Check, *, timeout_s: float, source_address: str | None = None
) -> CheckResult:
    """Carry out *check* once.

    Args:
        check: With all variables filled in.
        timeout_s: A check that takes longer has failed; a program is killed with its group.
        source_address: The host's own address, from which to connect.
    """
    with trio.move_on_after(timeout_s):
        try:
            match check:
                case HttpCheck():
                    return await get_status(check.url, source_address=source_address)
                case TcpCheck():
                    return await _connect(check, source_address)
                case ExecCheck():
                    return await _execute(check)
        except (OSError, ValueError, h11.ProtocolError) as error:
            return CheckResult(False, f"{_subject(check)}: {_reason(error)}"[:DETAIL_CHARS_MAX])
    return CheckResult(False, f"{_subject(check)}: no answer within {timeout_s:g} s")


def _subject(check: Check) -> str:
    match check:
        case HttpCheck():
            return f"GET {check.url}"
        case TcpCheck():
            return f"connect to {check.host}:{check.port}"
        case ExecCheck():
            return check.argv[0]


def _reason(error: BaseException) -> str:
    # trio wraps the reason of each attempted address into one "all attempts failed".
    while isinstance(error, OSError) and error.errno is None and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


async def _connect(check: TcpCheck, source_address: str | None) -> CheckResult:
    stream = await trio.open_tcp_stream(check.host, check.port, local_address=source_address)
    await stream.aclose()
    return CheckResult(True, f"{_subject(check)}: accepted")


async def _execute(check: ExecCheck) -> CheckResult:
    process = await _start(check)
    assert process.stdout is not None
    output = bytearray()
    failure: OSError | None = None
    async with process.stdout, trio.open_nursery() as nursery:
        drained = trio.Event()
        nursery.start_soon(_drain, process.stdout, output, drained)
        try:
            await _wait_and_kill(process)
        except OSError as error:
            failure = error  # raised below, outside the nursery, which would wrap it
        with trio.move_on_after(OUTPUT_GRACE_S):
            await drained.wait()
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return _judge(check, process.returncode, bytes(output))


async def _start(check: ExecCheck) -> trio.Process:
    if check.user is None:
        argv, env, cwd = list(check.argv), dict(check.env), check.cwd
        order = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    else:
        argv, env, cwd = [sys.executable, "-I", "-S", take_user.__file__], {}, "/"
        order = _order(check)
    try:
        return await trio.lowlevel.open_process(
            argv,
            cwd=cwd,
            env=env,
            stdin=order,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=SERVICE_UMASK,  # what it writes is the service's, like its own
        )
    finally:
        os.close(order)


def _order(check: ExecCheck) -> int:
    """What the process is to become, in a file without a name: its environment may hold secrets."""
    order = {
        "argv": check.argv,
        "env": dict(check.env),
        "cwd": check.cwd,
        "state": check.state_dir,
        "user": check.user,
    }
    handle = os.memfd_create("check")
    os.write(handle, msgspec.json.encode(order))
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


async def _wait_and_kill(process: trio.Process) -> None:
    """Wait for the end of *process*, or for cancellation; then kill what is left of its group."""
    try:
        pidfd = os.pidfd_open(process.pid)
        try:
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)
    finally:
        # Not reaped yet, so the group is still this one, whatever is left in it.
        os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()  # SIGKILL was sent: this takes no time


async def _drain(stream: trio.abc.ReceiveStream, output: bytearray, drained: trio.Event) -> None:
    """Read everything, so that the program never waits, and keep the end of it."""
    async for data in stream:
        output += data
        del output[:-OUTPUT_BYTES_MAX]
    drained.set()


def _judge(check: ExecCheck, code: int | None, output: bytes) -> CheckResult:
    lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
    said = "".join(c if c.isprintable() else "?" for c in lines[-1]) if lines else ""
    detail = f"{_subject(check)}: exit code {code}" + (f", {said}" if said else "")
    return CheckResult(code == 0, detail[:DETAIL_CHARS_MAX])
