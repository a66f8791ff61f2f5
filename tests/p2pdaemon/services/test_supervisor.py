"""What the supervisor promises about the process it runs, against real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio

from p2pdaemon.services import supervisor
from p2pdeploy.process_identity import identify, is_alive

pytestmark = pytest.mark.processes

READY = "print('ready', flush=True)\n"
SLEEP = READY + "import time; time.sleep(600)"


async def test_exit_code_is_journalled(runner, a_run):
    running = await runner.start(a_run("import sys; sys.exit(7)"))
    end = await runner.wait_exit(running)
    assert (end.exit_code, end.signal, end.stopped_on_request) == (7, None, False)
    assert str(end).startswith("exited with code 7 after ")
    assert await runner.last_exit() == end


async def test_death_by_signal_is_journalled(runner, a_run):
    end = await runner.wait_exit(await runner.start(a_run("import os; os.kill(os.getpid(), 11)")))
    assert (end.exit_code, end.signal) == (None, signal.SIGSEGV)
    assert str(end).startswith("killed by SIGSEGV")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("./missing",), "cannot execute ./missing: No such file or directory"),
        (("not-in-the-path",), "cannot execute not-in-the-path: No such file or directory"),
        (("./plain",), "cannot execute ./plain: Permission denied"),
        (
            ("./script",),
            "cannot execute ./script: the interpreter that its first line names does not exist",
        ),
    ],
)
async def test_program_that_cannot_be_executed_is_a_run_with_a_reason(
    runner, a_run, tmp_path, argv, said
):
    (tmp_path / "plain").write_text("x")
    (tmp_path / "script").write_text("#!/nowhere/interpreter\n")
    (tmp_path / "script").chmod(0o755)
    end = await runner.wait_exit(await runner.start(a_run(argv=argv)))
    assert (end.exit_code, end.message, str(end)) == (127, said, said)


async def test_missing_working_directory_is_told(runner, a_run):
    end = await runner.wait_exit(await runner.start(a_run(cwd="/nonexistent")))
    assert end.message == "cannot enter /nonexistent: No such file or directory"


async def test_service_gets_exactly_what_it_was_promised(runner, a_run, tmp_path, said):
    """Environment, folder, own group, signals, descriptors and standard input are as ordered."""
    program = """
import os, signal, sys, json
print(json.dumps({
    "env": {k: v for k, v in os.environ.items() if k != "LC_CTYPE"},  # set by Python itself
    "cwd": os.getcwd(), "leads_group": os.getpgrp() == os.getpid(),
    "fds": sorted(int(f) for f in os.listdir("/proc/self/fd"))[:-1],
    "stdin": os.readlink("/proc/self/fd/0"),
    "status": {line.split(":")[0]: line.split(":")[1].strip() for line in open("/proc/self/status")
               if line.startswith(("SigBlk", "NoNewPrivs", "Umask"))},
}))
"""
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)  # as a library that does not open close-on-exec
    try:
        await runner.wait_exit(await runner.start(a_run(program)))
    finally:
        os.close(leaked)
    assert json.loads(said()[0]) == {
        "env": a_run().env,
        "cwd": str(tmp_path),
        "leads_group": True,
        "fds": [0, 1, 2],
        "stdin": "/dev/null",
        "status": {"SigBlk": "0000000000000000", "NoNewPrivs": "1", "Umask": "0022"},
    }


async def test_signals_that_python_ignores_are_back_to_default(runner, a_run, said):
    script = "grep SigIgn /proc/self/status"
    await runner.wait_exit(await runner.start(a_run(argv=("/bin/sh", "-c", script))))
    libc_internal = 1 << 31 | 1 << 32  # 32 and 33: glibc's posix_spawn ignores them
    assert int(said()[0].split()[1], 16) & ~libc_internal == 0


async def test_stop_signal_is_the_chosen_one_and_the_code_is_kept(runner, a_run, said, until):
    program = "import signal, sys\nsignal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))\n" + SLEEP
    await runner.start(a_run(program, stop_signal="SIGUSR1"))
    await until(said)
    end = await runner.stop()
    assert end is not None
    assert (end.exit_code, end.stopped_on_request) == (3, True)


FAMILY = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()                     # a grandchild in a session of its own
    print(os.getpid(), flush=True)
    time.sleep(600)
print(os.getpid(), flush=True)
"""


async def test_stop_kills_the_deaf_and_their_grandchildren(runner, a_run, said, until):
    await runner.start(a_run(FAMILY + "time.sleep(600)", stop_timeout_s=0.1))
    await until(lambda: len(said()) == 3)
    family = [identify(int(pid)) for pid in said()]
    assert None not in family
    end = await runner.stop()
    assert end is not None
    assert (end.signal, end.stopped_on_request) == (signal.SIGKILL, True)
    assert not [process for process in family if process and is_alive(process)]


async def test_stop_with_a_limit_does_not_wait_for_the_stop_timeout(runner, a_run, said, until):
    await runner.start(a_run(FAMILY + "time.sleep(600)", stop_timeout_s=500.0))
    await until(lambda: len(said()) == 3)
    family = [identify(int(pid)) for pid in said()]
    with trio.fail_after(10):
        end = await runner.stop(0.05)
    assert end is not None
    assert end.signal == signal.SIGKILL
    assert not [process for process in family if process and is_alive(process)]


async def test_what_the_main_process_leaves_behind_is_killed(runner, a_run, said, until, tmp_path):
    os.mkfifo(tmp_path / "go")
    running = await runner.start(a_run(FAMILY + "open('go').close()"))
    await until(lambda: len(said()) == 3)
    family = [identify(int(pid)) for pid in said()]
    assert None not in family
    await trio.to_thread.run_sync((tmp_path / "go").write_text, "")
    end = await runner.wait_exit(running)
    assert (end.exit_code, end.stopped_on_request) == (0, False)
    assert not [process for process in family if process and is_alive(process)]


async def test_service_dies_with_its_supervisor(runner, a_run, said, until):
    running = await runner.start(a_run(SLEEP))
    await until(said)
    child = running.record.child
    assert is_alive(child)
    os.kill(running.record.supervisor_pid, signal.SIGKILL)
    await until(lambda: not is_alive(child))  # nobody else has touched it
    end = await runner.wait_exit(running)
    assert str(end) == "its supervisor was killed"
    assert (end.exit_code, end.signal) == (None, None)


async def test_what_a_killed_supervisor_left_is_killed_before_the_next_start(
    runner, a_run, said, until
):
    """A worker that does not die with the main process would be a second instance."""
    program = (
        "import os, time\nif os.fork():\n    time.sleep(600)\nprint(os.getpid(), flush=True)\n"
    )
    running = await runner.start(a_run(program + "time.sleep(600)"))
    await until(said)
    worker = identify(int(said()[0]))
    assert worker is not None
    os.kill(running.record.supervisor_pid, signal.SIGKILL)
    await until(lambda: not is_alive(running.record.supervisor))
    await runner.start(a_run("pass"))
    assert not is_alive(worker)


async def test_run_is_on_record_before_the_service_executes(runner, a_run, tmp_path, said):
    program = f"import os; print(os.listdir({str(tmp_path / 'svc' / 'run' / '1')!r}))"
    await runner.wait_exit(await runner.start(a_run(program)))
    assert "run.json" in said()[0]


async def test_supervisor_started_by_hand_refuses_a_held_lock(runner, a_run, tmp_path, until, said):
    running = await runner.start(a_run(SLEEP))
    other = tmp_path / "other"
    other.mkdir()
    spec = msgspec.json.decode((running.run_dir / "spec.json").read_bytes())
    (other / "spec.json").write_bytes(msgspec.json.encode(spec))
    done = await trio.to_thread.run_sync(
        lambda: subprocess.run(
            [sys.executable, "-I", "-S", supervisor.__file__, str(other / "spec.json")],
            check=False,
            capture_output=True,
            timeout=10,
        )
    )
    assert (done.returncode, done.stderr) == (supervisor.EXIT_LOCKED, b"")
    assert [path.name for path in other.iterdir()] == ["spec.json"]


async def test_supervisor_started_by_hand_runs_the_service(a_run, tmp_path, said):
    spec = {**msgspec.to_builtins(a_run("print('by hand')")), "lock_path": str(tmp_path / "lock")}
    (tmp_path / "spec.json").write_bytes(msgspec.json.encode(spec))
    done = await trio.run_process(
        [sys.executable, "-I", "-S", supervisor.__file__, str(tmp_path / "spec.json")]
    )
    assert done.returncode == 0
    assert said() == ["by hand"]
    assert json.loads((tmp_path / "exit.json").read_text())["exit_code"] == 0


def test_supervisor_loads_few_modules():
    """It is paid for once per running service."""
    package = Path(supervisor.__file__).parents[2]
    code = (
        f"import sys; sys.path.append({str(package)!r}); "
        "import p2pdaemon.services.supervisor; print(len(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert int(out) < 90
