from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import pytest

from p2pctl.lab.processes import spawn, stop_all
from p2pctl.lab.programs import Program, find_running, last_words, start_program
from p2pctl.polling import poll
from p2pdeploy.process_identity import identify, is_alive, reap

pytestmark = pytest.mark.processes

STUBBORN = (
    "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"
)
WILLING = "import signal; print('up', flush=True); signal.pause()"


def wait_for(condition) -> None:
    for _ in poll(10.0, 0.01):
        if condition():
            return
    raise AssertionError("not in time")


def start(code: str, log: Path):
    identity = spawn([sys.executable, "-S", "-c", code], log)
    wait_for(lambda: log.exists() and "up" in log.read_text())
    return identity


def test_a_spawned_process_leads_its_own_session_and_logs_by_itself(tmp_path: Path) -> None:
    identity = start(WILLING, tmp_path / "log")
    assert is_alive(identity)
    assert os.getsid(identity.pid) == identity.pid
    stop_all([identity], 10.0)
    assert not is_alive(identity)


def test_one_that_ignores_the_request_is_killed_after_the_grace(tmp_path: Path) -> None:
    stubborn = start(STUBBORN, tmp_path / "a")
    willing = start(WILLING, tmp_path / "b")
    started = time.monotonic()
    stop_all([stubborn, willing], 0.3)
    assert time.monotonic() - started >= 0.3
    assert not is_alive(stubborn)
    assert not is_alive(willing)


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    identity = start(WILLING, tmp_path / "log")  # it runs by now, so that spawn cannot reap it
    os.kill(identity.pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(identity))
    assert Path(f"/proc/{identity.pid}").exists()  # nobody has reaped it
    assert identify(identity.pid) is None
    reap(identity)
    wait_for(lambda: not Path(f"/proc/{identity.pid}").exists())


def test_a_process_whose_main_thread_ended_lives_until_its_last_thread_has(
    tmp_path: Path,
) -> None:
    code = (
        "import ctypes, signal, threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "print('up', flush=True)\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"  # of the main thread alone
    )
    identity = start(code, tmp_path / "log")
    state = Path(f"/proc/{identity.pid}/stat")
    wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] == "Z")
    assert is_alive(identity)
    os.kill(identity.pid, 9)
    wait_for(lambda: not is_alive(identity))
    reap(identity)


def test_another_process_with_the_same_pid_is_neither_alive_nor_signalled(tmp_path: Path) -> None:
    real = start(WILLING, tmp_path / "log")
    earlier = msgspec.structs.replace(real, start_time_ticks=real.start_time_ticks - 1)
    other_boot = msgspec.structs.replace(real, boot_id="another")
    assert not is_alive(earlier)
    assert not is_alive(other_boot)
    stop_all([earlier, other_boot], 0.1)
    assert is_alive(real)
    stop_all([real], 10.0)


def test_a_program_is_found_by_its_record_and_without_it_by_its_command_line(
    tmp_path: Path,
) -> None:
    program = Program(
        name="one",
        arguments=("-S", "-c", WILLING, str(tmp_path)),
        log_path=tmp_path / "log",
        record_path=tmp_path / "one.json",
    )
    assert find_running([program]) == {}
    identity = start_program(program)
    try:
        wait_for(lambda: last_words(program) == "up")
        assert find_running([program]) == {"one": identity}
        program.record_path.write_bytes(b"{torn")
        assert find_running([program]) == {"one": identity}
    finally:
        stop_all([identity], 10.0)
    assert find_running([program]) == {}
