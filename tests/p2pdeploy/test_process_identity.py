"""A pid alone proves nothing; pid, start time and boot do."""

from __future__ import annotations

import os
import signal
import subprocess

import msgspec
import pytest

from p2pdeploy.process_identity import (
    identify,
    is_alive,
    members_of_session,
    open_pidfd,
    reap,
    send,
)


def me():
    identity = identify(os.getpid())
    assert identity is not None
    return identity


def test_running_process_is_alive():
    assert is_alive(me())


def test_same_pid_with_another_start_time_is_another_process():
    other = msgspec.structs.replace(me(), start_time_ticks=me().start_time_ticks - 1)
    assert not is_alive(other)
    assert open_pidfd(other) is None
    assert not send(other, signal.SIGKILL)  # or this test would end here


def test_same_pid_in_another_boot_is_another_process():
    other = msgspec.structs.replace(me(), boot_id="another")
    assert not is_alive(other)
    assert not send(other, signal.SIGKILL)
    assert list(members_of_session(other)) == []


def test_session_of_a_reused_pid_has_no_members():
    """Our own session lives, but a process with that pid that started earlier never led it."""
    leader = identify(os.getsid(0))
    if leader is None:
        pytest.skip("the leader of this session is gone")
    older = msgspec.structs.replace(leader, start_time_ticks=leader.start_time_ticks - 1)
    assert list(members_of_session(older)) == []


@pytest.mark.processes
def test_zombie_is_dead_and_can_be_reaped():
    pid = os.posix_spawn("/bin/sleep", ["sleep", "600"], {})
    identity = identify(pid)
    assert identity is not None
    assert send(identity, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with open(f"/proc/{pid}/stat") as file:
        assert file.read().split()[2] == "Z"
    assert not is_alive(identity)
    assert identify(pid) is None
    assert open_pidfd(identity) is None
    reap(identity)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


@pytest.mark.processes
def test_reap_leaves_another_process_with_that_pid_alone():
    process = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    stranger = msgspec.structs.replace(me(), pid=process.pid, start_time_ticks=1)
    reap(stranger)
    assert process.wait() == 0


@pytest.mark.processes
def test_name_with_brackets_does_not_confuse_the_parser(tmp_path):
    program = tmp_path / ") Z 1 (x"
    program.symlink_to("/bin/sleep")
    pid = os.posix_spawn(program, [program.name, "600"], {})
    try:
        identity = identify(pid)
        assert identity is not None
        assert is_alive(identity)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
