"""Who may start or stop a fleet's processes, on a fleet on paper."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec
import pytest

from p2pctl.lab import stopping
from p2pctl.lab.layout import plan_hosts, write_layout
from p2pctl.lab.locking import ProcessesLock
from p2pctl.lab.programs import programs_of, record_mode, was_taken_down
from p2pctl.lab.stopping import stop_fleet
from p2pdeploy.errors import UnavailableError
from p2pdeploy.process_identity import identify


@pytest.fixture
def paper_fleet(tmp_path: Path) -> Path:
    """A fleet of one host that never ran."""
    write_layout(tmp_path, "127.64.9", plan_hosts("127.64.9", 1, 1))
    return tmp_path


def record(folder: Path, pid: int) -> Path:
    """Record process *pid* as the daemon of h01."""
    path = folder / "run" / "h01.json"
    path.write_bytes(msgspec.json.encode(identify(pid)))
    return path


def test_up_is_refused_while_a_down_works_and_starts_nothing(p2pctl, paper_fleet: Path) -> None:
    with ProcessesLock(paper_fleet) as down:
        assert down.take()
        done = p2pctl("up", "--dir", paper_fleet, "--detach", "-o", "json")
        error = done.document()["error"]
        assert (done.code, error["code"]) == (1, "going-down")
        assert error["message"] == "a 'p2pctl down' is stopping this fleet"
    assert [path.name for path in (paper_fleet / "run").iterdir()] == ["lock"]


def test_a_down_tells_an_up_to_give_up_then_waits_for_it(paper_fleet: Path) -> None:
    record_mode(paper_fleet, detached=True)
    waits = threading.Event()
    stopped = list[list[str]]()

    def down() -> None:
        stopped.append(stop_fleet(paper_fleet, lambda _: waits.set()).stopped)

    with ProcessesLock(paper_fleet) as up:
        assert up.take()
        other = threading.Thread(target=down)
        other.start()
        assert waits.wait(10.0)
        assert was_taken_down(paper_fleet)
        assert stopped == []
    other.join(10.0)
    assert stopped == [[]]


def test_a_down_that_waited_in_vain_stops_and_forgets_nothing(
    p2pctl, paper_fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "_WORK_TIMEOUT_S", 0.0)
    kept = record(paper_fleet, os.getpid())
    with ProcessesLock(paper_fleet) as other:
        assert other.take()
        done = p2pctl("down", "--dir", paper_fleet, "-o", "json")
    assert (done.code, done.error_code) == (1, "fleet-busy")
    assert kept.exists()


def test_what_did_not_end_is_told_and_stays_recorded(
    paper_fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No test can make a process that SIGKILL does not end.
    monkeypatch.setattr(stopping, "stop_all", lambda *_: None)
    kept = record(paper_fleet, os.getpid())
    gone = programs_of(paper_fleet, [])[0].record_path
    gone.write_bytes(b"{}")
    with pytest.raises(UnavailableError, match="processes did not end: h01") as caught:
        stop_fleet(paper_fleet, lambda _: None)
    assert caught.value.code == "processes-left"
    assert kept.exists()
    assert not gone.exists()


def test_an_up_that_ended_gives_the_lock_back(paper_fleet: Path) -> None:
    with ProcessesLock(paper_fleet) as first:
        assert first.take()
        with ProcessesLock(paper_fleet) as second:
            assert not second.take()
    with ProcessesLock(paper_fleet) as third:
        assert third.take()
