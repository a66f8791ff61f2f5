"""One change with real processes: it succeeds, or what ran before runs again, whoever dies when."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.get_and_run_svc import GetAndRunSvc
from p2pdaemon.service_process import Run, ServiceProcess
from p2pdaemon.store import ReleaseStore
from p2pdeploy.activation.events import INTERRUPTED, Activated, ActivationFailed
from p2pdeploy.activation.record import Started
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.messages.attestation import ServiceState
from p2pdeploy.messages.orders import Build
from tests.p2pdaemon.conftest import a_process

pytestmark = pytest.mark.processes

HELLO = ServiceName("hello")
Release = Callable[..., Build]


def started(build: Build | None, previous: Build | None, **more: Any) -> Started:
    values: dict[str, Any] = {
        "plan_seq": 4,
        "bake_s": 0.3,
        "activation_max_s": 20.0,
        **more,
    }
    return Started(build=build, previous=previous, **values)


class Host:
    """What one daemon after the other does with one service."""

    def __init__(self, process: ServiceProcess, store: ReleaseStore) -> None:
        self.process = process
        self.store = store
        self.states: list[ServiceState] = []

    async def change(self, order: Started, *, resume: bool = False) -> Activated | ActivationFailed:
        async def report(state: ServiceState, port: int) -> None:
            self.states.append(state)

        with trio.fail_after(order.activation_max_s + 1):
            return await GetAndRunSvc(self.process, self.store, report).change(order, resume=resume)

    async def fails(self, order: Started, *, resume: bool = False) -> ActivationFailed:
        """The outcome of a change that does not succeed."""
        outcome = await self.change(order, resume=resume)
        assert isinstance(outcome, ActivationFailed), outcome
        return outcome

    async def served(self, port: int) -> str:
        """The version that answers on *port*."""
        run = await self.process.adopt()
        assert run is not None
        assert run.port == port
        stream = await trio.open_tcp_stream(run.launch.run.env["HOST"], port)
        async with stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while data := await stream.receive_some():
                answer += data
        assert answer.startswith(b"HTTP/1.1 200"), answer
        return answer.partition(b"\r\n\r\n")[2].decode()


@pytest.fixture
def host(process: ServiceProcess, store: ReleaseStore) -> Host:
    return Host(process, store)


class FullStore(ReleaseStore):
    """Its disk is full whenever *refused* is to be linked."""

    refused: Digest | None = None

    def switch(self, service: ServiceName, digest: Digest | None) -> None:
        if digest is not None and digest == self.refused:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().switch(service, digest)


async def test_a_disk_that_fills_after_the_old_one_was_stopped_has_it_started_again(
    config: DaemonConfig, process: ServiceProcess, store: ReleaseStore, release: Release
) -> None:
    old, new = release("1.0.0"), release("2.0.0")
    host = Host(process, full := FullStore(config.state_dir))
    await installed(host, old)
    full.refused = new.digest
    outcome = await host.fails(started(new, old))
    assert (outcome.code, outcome.restored) == ("disk-full", True)
    assert host.states == ["starting", "rolling-back"]
    assert await host.served(outcome.port) == "1.0.0"


async def test_a_failure_that_cannot_be_noted_is_undone_all_the_same(
    host: Host, store: ReleaseStore, release: Release
) -> None:
    old, bad = release("1.0.0"), release("2.0.0", "exit")
    await installed(host, old)
    (store.service_dir(HELLO) / "failed-change.json#new").mkdir()
    outcome = await host.fails(started(bad, old))
    assert (outcome.code, outcome.restored) == ("exited", True)
    assert await host.served(outcome.port) == "1.0.0"


async def test_a_disk_that_refuses_the_way_back_as_well_is_told_and_raises_nothing(
    config: DaemonConfig, process: ServiceProcess, store: ReleaseStore, release: Release
) -> None:
    old, bad = release("1.0.0"), release("2.0.0", "exit")
    host = Host(process, full := FullStore(config.state_dir))
    await installed(host, old)
    full.refused = old.digest
    outcome = await host.fails(started(bad, old))
    assert (outcome.code, outcome.restored) == ("exited", False)


async def installed(host: Host, build: Build) -> Run:
    outcome = await host.change(started(build, None))
    assert isinstance(outcome, Activated), outcome
    host.states.clear()
    run = await host.process.adopt()
    assert run is not None
    return run


async def test_an_upgrade_keeps_the_port_and_moves_both_links(host: Host, release: Release) -> None:
    old, new = release("1.0.0"), release("1.1.0")
    before = await installed(host, old)
    order = started(new, old)
    outcome = await host.change(order)
    assert outcome == Activated(service=HELLO, started=order, port=before.port)
    assert await host.served(before.port) == "1.1.0"
    assert host.states == ["starting", "baking"]
    assert host.store.current(HELLO) == new.digest
    previous = host.store.service_dir(HELLO) / "previous"
    assert previous.resolve() == host.store.tree(old.digest)


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        ("exit", "exited", "code 3"),
        ("sick", "never-healthy", "500"),
        ("die-in-bake", "bake-failed", "code 4"),
        ("sicken", "bake-failed", "500"),
    ],
)
async def test_a_bad_build_is_undone_and_its_reason_told(
    host: Host, release: Release, behaviour: str, code: str, words: str
) -> None:
    old = release("1.0.0")
    before = await installed(host, old)
    bad = release("1.2.0", behaviour, start_timeout_s=1.0)
    outcome = await host.fails(started(bad, old, bake_s=2.0))
    assert (outcome.code, outcome.restored, outcome.port) == (code, True, before.port)
    assert words in outcome.reason
    assert await host.served(before.port) == "1.0.0"
    assert host.store.current(HELLO) == old.digest
    assert host.states[-1] == "rolling-back"


async def test_a_first_deployment_that_fails_ends_absent(host: Host, release: Release) -> None:
    outcome = await host.fails(started(release("1.0.0", "exit"), None))
    assert outcome.restored
    assert await host.process.adopt() is None
    assert host.store.current(HELLO) is None


async def test_a_removal_stops_the_service_and_keeps_its_state(
    host: Host, release: Release
) -> None:
    old = release("1.0.0")
    await installed(host, old)
    (host.store.service_dir(HELLO) / "state" / "precious").write_text("data")
    order = started(None, old)
    assert await host.change(order) == Activated(service=HELLO, started=order)
    assert await host.process.adopt() is None
    assert host.store.current(HELLO) is None
    assert (host.store.service_dir(HELLO) / "state" / "precious").read_text() == "data"


async def test_a_build_that_can_not_be_judged_leaves_the_old_one_untouched(
    host: Host, release: Release
) -> None:
    old = release("1.0.0")
    before = await installed(host, old)
    outcome = await host.fails(started(Build(version=old.version, digest=Digest("0" * 64)), old))
    assert outcome.restored
    after = await host.process.adopt()
    assert after is not None
    assert after.running.record.child == before.running.record.child


async def test_a_change_ends_within_its_time(host: Host, release: Release) -> None:
    old = release("1.0.0")
    await installed(host, old)
    outcome = await host.fails(started(release("1.1.0"), old, bake_s=60, activation_max_s=4.0))
    assert (outcome.code, outcome.restored) == ("too-slow", True)


class Killed(BaseException):
    """Stands for kill -9 of the daemon right after one step."""


class Mortal:
    """Counts the steps that touch something; dies after the one of this number."""

    def __init__(self, dies_after: int) -> None:
        self.left = dies_after
        self.steps: list[str] = []

    def step(self, name: str) -> None:
        self.steps.append(name)
        self.left -= 1
        if self.left == 0:
            raise Killed


class MortalProcess(ServiceProcess):
    mortal: Mortal

    async def stop(self) -> None:
        await super().stop()
        self.mortal.step("stop")

    async def start(self, build: Build) -> Run:
        run = await super().start(build)
        self.mortal.step("start")
        return run


class MortalStore(ReleaseStore):
    mortal: Mortal

    def switch(self, service: ServiceName, digest: Digest | None) -> None:
        super().switch(service, digest)
        self.mortal.step("switch")


async def dies(config: DaemonConfig, order: Started, after: int) -> list[str]:
    """Let a daemon begin *order* and die after so many steps; return them."""
    mortal = Mortal(after)
    store = MortalStore(config.state_dir)
    process = a_process(config, store, kind=MortalProcess)
    process.mortal = store.mortal = mortal
    with pytest.raises(Killed):
        await Host(process, store).change(order)
    return mortal.steps


@pytest.mark.parametrize(
    ("after", "finishes"),
    [(1, False), (2, False), (3, True)],
    ids=["stopped", "switched", "started"],
)
async def test_a_kill_on_the_way_forward_is_finished_or_undone(
    host: Host, config: DaemonConfig, release: Release, after: int, finishes: bool
) -> None:
    old, new = release("1.0.0"), release("1.1.0")
    port = (await installed(host, old)).port
    order = started(new, old)
    assert await dies(config, order, after) == ["stop", "switch", "start"][:after]

    outcome = await host.change(order, resume=True)
    if finishes:
        assert outcome == Activated(service=HELLO, started=order, port=port)
        assert await host.served(port) == "1.1.0"
        assert host.store.current(HELLO) == new.digest
    else:
        assert isinstance(outcome, ActivationFailed)
        assert (outcome.code, outcome.restored) == (INTERRUPTED, True)
        assert await host.served(port) == "1.0.0"
        assert host.store.current(HELLO) == old.digest


@pytest.mark.parametrize("after", [4, 5, 6], ids=["stopped", "switched", "started"])
async def test_a_kill_on_the_way_back_does_not_forget_the_failure(
    host: Host, config: DaemonConfig, release: Release, after: int
) -> None:
    old, bad = release("1.0.0"), release("1.2.0", "exit")
    port = (await installed(host, old)).port
    order = started(bad, old)
    steps = ["stop", "switch", "start", "stop", "switch", "start"]
    assert await dies(config, order, after) == steps[:after]

    outcome = await host.fails(order, resume=True)
    assert (outcome.code, outcome.restored, outcome.port) == ("exited", True, port)
    assert await host.served(port) == "1.0.0"


async def test_a_new_build_that_dies_with_the_daemon_fails_on_resume(
    host: Host, config: DaemonConfig, release: Release
) -> None:
    old, bad = release("1.0.0"), release("1.2.0", "die-in-bake")
    port = (await installed(host, old)).port
    order = started(bad, old, bake_s=3.0)
    await dies(config, order, 3)
    outcome = await host.fails(order, resume=True)
    # It may have ended before the next daemon looked: then the change was interrupted.
    assert outcome.code in ("bake-failed", "exited", INTERRUPTED)
    assert await host.served(port) == "1.0.0"


@pytest.mark.parametrize("after", [1, 2])
async def test_a_removal_cut_off_is_finished(
    host: Host, config: DaemonConfig, release: Release, after: int
) -> None:
    old = release("1.0.0")
    await installed(host, old)
    order = started(None, old)
    await dies(config, order, after)
    assert await host.change(order, resume=True) == Activated(service=HELLO, started=order)
    assert host.store.current(HELLO) is None
