"""The program as an operating-system process: starts, is killed, goes on, stops cleanly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from p2pdeploy.messages.upload import CHUNK_HEADER, END_OF_CHUNKS
from p2pdeploy.payload.build import Built

pytestmark = pytest.mark.processes


async def ports_in(log: Path) -> dict[str, int]:
    with trio.fail_after(60):  # a loaded machine takes its time to import
        while True:
            for line in (await trio.Path(log).read_text()).splitlines():
                event = json.loads(line)
                if event["event"] == "control-plane-up":
                    return event
            await trio.sleep(0.05)


@asynccontextmanager
async def a_process(folder: Path) -> AsyncGenerator[tuple[trio.Process, dict[str, int]]]:
    log = folder / "log"
    with log.open("w") as stderr:
        process = await trio.lowlevel.open_process(command(folder), stderr=stderr)
    try:
        yield process, await ports_in(log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "p2ptracker", "run", "--dir", str(folder)]


async def test_sigterm_stops_it_cleanly(fleet_dir: Path, client_of: Callable) -> None:
    async with a_process(fleet_dir) as (process, ports):
        async with client_of(fleet_dir, ports) as client:
            assert (await client.http.get("/v1/time")).status_code == 200
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(10):
            assert await process.wait() == 0
    log = (fleet_dir / "log").read_text()
    assert "control-plane-down" in log
    assert "PRIVATE KEY" not in log


async def test_after_a_kill_it_goes_on_where_it_was(
    fleet_dir: Path, payload: Callable[..., Built], client_of: Callable
) -> None:
    built = payload()
    async with a_process(fleet_dir) as (process, ports), client_of(fleet_dir, ports) as client:
        begun = await client.begun("1.0.0", built)
        numbers = client.numbers(begun)
        async with await client.connect(begun) as stream:
            for number in numbers[: len(numbers) // 2]:
                await stream.send_all(client.chunk(built, number))
            await stream.send_all(CHUNK_HEADER.pack(END_OF_CHUNKS, 0))
            with trio.fail_after(10):
                while await stream.receive_some(4096):
                    pass
        process.send_signal(signal.SIGKILL)
    async with a_process(fleet_dir) as (process, ports), client_of(fleet_dir, ports) as client:
        begun = await client.begun("1.0.0", built)
        assert client.numbers(begun) == numbers[len(numbers) // 2 :]
        assert (await client.publish("1.0.0", built)).status_code == 200
        process.send_signal(signal.SIGKILL)
    async with a_process(fleet_dir) as (_, ports), client_of(fleet_dir, ports) as client:
        assert (await client.begun("1.0.0", built)).state == "published"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ('address = "0.0.0.0"', "IPv4 address of one machine"),
        ('address = "10.0.0.7"\nlab = true', "lab"),
        ('address = "127.0.0.1"\ncolour = 1', "colour"),
        ('address = "127.0.0.1"\napi_port = "x"', "api_port"),
        ("address = ", "tracker.toml"),
    ],
)
def test_a_wrong_configuration_gets_one_line(fleet_dir: Path, spoil: str, told: str) -> None:
    (fleet_dir / "tracker.toml").write_text(spoil)
    done = subprocess.run(command(fleet_dir), capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


async def test_an_address_that_is_taken_gets_one_line(fleet_dir: Path) -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        taken = listener.socket.getsockname()[1]
        config = fleet_dir / "tracker.toml"
        for key in ("upload_port", "api_port"):
            original = config.read_text()
            config.write_text(original.replace(f"{key} = 0", f"{key} = {taken}"))
            done = await trio.run_process(
                command(fleet_dir), capture_stderr=True, check=False, env=os.environ
            )
            config.write_text(original)
            assert done.returncode == 2, done.stderr
            assert b"cannot listen" in done.stderr.splitlines()[-1]
            assert b"Traceback" not in done.stderr


def test_help_does_not_load_the_server() -> None:
    code = (
        "import sys\n"
        "from p2ptracker.__main__ import cli\n"
        "cli.make_context('p2ptracker', ['run', '--dir', '.'])\n"
        "assert not {'litestar', 'sqlalchemy', 'trio'} & set(sys.modules), 'loaded'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
