"""The daemon may die between any two steps; the next one learns the truth."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import msgspec
import psutil
import pytest
import trio
import trio.testing

from p2pdaemon.services import rundir
from p2pdaemon.services.rundir import add_run, newest_run, try_lock
from p2pdaemon.services.runner import ServiceRunner
from p2pdeploy.errors import RefusedError, UnavailableError
from p2pdeploy.process_identity import identify, is_alive

pytestmark = pytest.mark.processes

SLEEP = "print('ready', flush=True)\nimport time; time.sleep(600)"

DAEMON = """
import sys, msgspec, trio
from pathlib import Path
from p2pdaemon.services.records import RunSpec
from p2pdaemon.services.runner import ServiceRunner
async def main():
    spec = msgspec.json.decode(sys.argv[2], type=RunSpec)
    running = await ServiceRunner(Path(sys.argv[1])).start(spec)
    print("started", flush=True)
    await trio.sleep_forever()
trio.run(main)
"""


def a_daemon(base_dir, spec, program=DAEMON):
    argv = [sys.executable, "-c", program, str(base_dir), msgspec.json.encode(spec).decode()]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def has_child(pid):
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


async def test_nothing_ran_yet(runner):
    assert await runner.adopt() is None
    assert await runner.last_exit() is None
    assert await runner.stop() is None


async def test_service_survives_kill_of_the_daemon_and_is_adopted(runner, a_run, tmp_path, said):
    daemon = a_daemon(tmp_path / "svc", a_run(SLEEP))
    try:
        await trio.to_thread.run_sync(daemon.stdout.readline)
    finally:
        kill(daemon)
    running = await runner.adopt()
    assert running is not None
    assert is_alive(running.record.child)
    assert running.record.version == "1.0.0"
    with pytest.raises(RefusedError):
        await runner.start(a_run(SLEEP))
    end = await runner.stop()
    assert end is not None
    assert end.stopped_on_request
    assert await runner.adopt() is None


async def test_exit_while_no_daemon_ran_is_known_to_the_next(runner, a_run, tmp_path):
    program = "import os, sys; os.close(os.open('go', os.O_RDONLY)); sys.exit(9)"
    os.mkfifo(tmp_path / "go")
    daemon = a_daemon(tmp_path / "svc", a_run(program))
    try:
        await trio.to_thread.run_sync(daemon.stdout.readline)
        running = await runner.adopt()
        assert running is not None
    finally:
        kill(daemon)
    await trio.to_thread.run_sync((tmp_path / "go").write_text, "")
    await runner.wait_exit(running)
    end = await ServiceRunner(tmp_path / "svc").last_exit()
    assert end is not None
    assert end.exit_code == 9


@pytest.mark.parametrize("point", ["settle", "add_run", "spawn_supervisor", "read_news"])
async def test_daemon_killed_at_any_step_of_a_start_leaves_the_truth(
    runner, a_run, tmp_path, point, said, until
):
    """Killed right after *point*: adopt says nothing runs, and that stays, or finds the service."""
    program = DAEMON.replace(
        "async def main():",
        f"""
import os, inspect
from p2pdaemon.services import runner as module
real = module.{point}
def dying(*args):
    if inspect.iscoroutinefunction(real):
        os.kill(os.getpid(), 9)
    result = real(*args)
    os.kill(os.getpid(), 9)
module.{point} = dying
async def main():""",
    )
    daemon = a_daemon(tmp_path / "svc", a_run(SLEEP), program)
    await trio.to_thread.run_sync(daemon.wait)
    daemon.stdout.close()
    assert daemon.returncode == -signal.SIGKILL
    running = await runner.adopt()  # at once: the supervisor may still be starting
    if point in ("settle", "add_run"):
        assert running is None
        assert said() == []
        running = await runner.start(a_run(SLEEP))
    assert running is not None
    assert is_alive(running.record.child)
    await until(said)
    assert said() == ["ready"]


async def test_adopt_waits_for_a_supervisor_that_is_still_starting(runner, a_run, tmp_path):
    """The lock is held, the record comes later: neither None nor a guess is right until then."""
    done = await runner.start(a_run("pass"))
    await runner.wait_exit(done)
    with try_lock(tmp_path / "svc") as lock_fd:
        assert lock_fd is not None
        with trio.move_on_after(0.2) as patience:
            await ServiceRunner(tmp_path / "svc").adopt()
        assert patience.cancelled_caught
    assert await runner.adopt() is None


async def test_two_starts_at_once_make_one_instance(a_run, tmp_path, said, until):
    """Two runners on one folder, as two daemons would be."""
    outcomes = []

    async def start(runner):
        try:
            outcomes.append(await runner.start(a_run(SLEEP)))
        except RefusedError as error:
            outcomes.append(error)

    runners = [ServiceRunner(tmp_path / "svc") for _ in range(4)]
    async with trio.open_nursery() as nursery:
        for runner in runners:
            nursery.start_soon(start, runner)
    try:
        assert sum(isinstance(outcome, RefusedError) for outcome in outcomes) == 3
        await until(said)
        assert said() == ["ready"]
    finally:
        await runners[0].stop(0.0)


async def test_no_zombie_is_left(runner, a_run):
    for _ in range(2):
        running = await runner.start(a_run("pass"))
        await runner.wait_exit(running)
        assert not has_child(running.record.supervisor_pid)


async def test_any_number_of_tasks_may_wait(runner, a_run, said, until):
    running = await runner.start(a_run(SLEEP))
    await until(said)
    ends = []

    async def wait():
        ends.append(await runner.wait_exit(running))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await runner.stop()
    assert len(ends) == 3
    assert ends == [await runner.last_exit()] * 3


async def test_each_start_is_a_new_run_and_old_runs_are_dropped(runner, a_run, tmp_path):
    for _ in range(2):
        await runner.wait_exit(await runner.start(a_run("pass")))
    for _ in range(5):
        with try_lock(tmp_path / "svc"):
            add_run(tmp_path / "svc", a_run("pass"))
    await runner.wait_exit(await runner.start(a_run("pass")))
    names = sorted(path.name for path in (tmp_path / "svc" / "run").iterdir())
    assert names == ["4", "5", "6", "7", "8"]
    assert newest_run(tmp_path / "svc") == tmp_path / "svc" / "run" / "8"


async def test_order_with_its_secrets_is_private(runner, a_run):
    running = await runner.start(a_run("pass"))
    assert (running.run_dir / "spec.json").stat().st_mode & 0o777 == 0o600
    assert running.run_dir.stat().st_mode & 0o777 == 0o700
    await runner.wait_exit(running)


async def test_reboot_is_told_as_such(runner, a_run, tmp_path):
    """After a restart of the machine the pids of the record mean nothing, even if they exist."""
    running = await runner.start(a_run("pass"))
    await runner.wait_exit(running)
    myself = identify(os.getpid())
    assert myself is not None
    record = msgspec.structs.replace(
        running.record,
        boot_id="0" * 36,
        supervisor_pid=myself.pid,
        supervisor_start_time_ticks=myself.start_time_ticks,
        child_pid=myself.pid,
        child_start_time_ticks=myself.start_time_ticks,
    )
    (running.run_dir / "run.json").write_bytes(msgspec.json.encode(record))
    (running.run_dir / "exit.json").unlink()
    assert await runner.adopt() is None
    end = await runner.last_exit()
    assert end is not None
    assert str(end) == "the machine restarted"


async def test_replaced_lock_file_never_leads_to_a_second_instance(
    runner, a_run, tmp_path, said, until
):
    running = await runner.start(a_run(SLEEP))
    lock = tmp_path / "svc" / "lock"
    lock.rename(tmp_path / "svc" / "lock.away")
    try:
        with pytest.raises(UnavailableError, match="does not hold the lock"):
            await runner.start(a_run(SLEEP))
        with pytest.raises(UnavailableError, match="does not hold the lock"):
            await runner.adopt()
    finally:
        (tmp_path / "svc" / "lock.away").rename(lock)
    assert await runner.adopt() == running


async def test_unreadable_record_fails_closed(runner, a_run):
    running = await runner.start(a_run("pass"))
    await runner.wait_exit(running)
    (running.run_dir / "exit.json").unlink()
    (running.run_dir / "run.json").write_text("{")
    with pytest.raises(UnavailableError, match="not a RunRecord"):
        await runner.start(a_run("pass"))
    (running.run_dir / "run.json").unlink()  # as the hint says
    await runner.wait_exit(await runner.start(a_run("pass")))


async def test_unwritable_folder_is_one_clear_error(a_run, tmp_path):
    (tmp_path / "svc").mkdir()
    (tmp_path / "svc" / "run").write_text("in the way")
    with pytest.raises(UnavailableError, match="cannot be started"):
        await ServiceRunner(tmp_path / "svc").start(a_run("pass"))
    with try_lock(tmp_path / "svc") as lock_fd:
        assert lock_fd is not None  # nobody kept it


def children():
    """Pids of this process's children, zombies too; other tests of the session may have some."""
    return {child.pid for child in psutil.Process().children()}


async def test_supervisor_that_cannot_start_gives_its_own_words(runner, a_run):
    before = children()
    with pytest.raises(UnavailableError, match="SIGNONSENSE"):
        await runner.start(a_run("pass", stop_signal="SIGNONSENSE"))
    assert await runner.adopt() is None
    assert children() <= before


async def test_supervisor_that_takes_too_long_is_ended_and_nothing_comes_up(
    runner, a_run, monkeypatch, tmp_path, said
):
    """Its order is a pipe that nobody fills, so it hangs before it starts anything."""
    from p2pdaemon.services import runner as module

    def add_pipe(base_dir, spec):
        run_dir = add_run(base_dir, spec)
        (run_dir / "spec.json").unlink()
        os.mkfifo(run_dir / "spec.json")
        return run_dir

    before = children()
    monkeypatch.setattr(module, "add_run", add_pipe)
    monkeypatch.setattr(module, "START_TIMEOUT_S", 0.3)
    with pytest.raises(UnavailableError, match="it says nothing"):
        await runner.start(a_run("print('ran')"))
    assert children() <= before
    assert await runner.adopt() is None
    monkeypatch.undo()
    await runner.wait_exit(await runner.start(a_run("print('second')")))
    assert said() == ["second"]


async def test_start_does_not_leak_descriptors(runner, a_run):
    before = len(os.listdir("/proc/self/fd"))
    counts = set()
    for _ in range(3):
        await runner.wait_exit(await runner.start(a_run("pass")))
        counts.add(len(os.listdir("/proc/self/fd")))
    assert counts == {before}


async def test_process_that_does_not_die_is_told(runner, a_run, monkeypatch, said, until):
    """A process stuck in the kernel cannot be made here, so the killing is made to miss."""
    running = await runner.start(a_run(SLEEP))
    await until(said)
    monkeypatch.setattr(rundir, "_leftovers", lambda record: [record.child])
    monkeypatch.setattr(rundir, "KILL_TIMEOUT_S", 0.05)
    os.kill(running.record.supervisor_pid, signal.SIGKILL)
    with pytest.raises(UnavailableError, match="does not die"):
        await runner.wait_exit(running)
    monkeypatch.undo()
    assert await runner.adopt() is None


async def test_supervisor_holds_no_memory_to_speak_of(runner, a_run, said, until):
    running = await runner.start(a_run(SLEEP))
    await until(said)
    status = await trio.Path(f"/proc/{running.record.supervisor_pid}/status").read_text()
    rss_kib = int(status.partition("VmRSS:")[2].split()[0])
    assert rss_kib < 16 * 1024
