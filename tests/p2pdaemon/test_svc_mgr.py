"""SvcMgr with a scripted core: effects in order, events back, faults that stay put."""

from __future__ import annotations

import errno
import os
import random
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from p2pdaemon import svc_mgr
from p2pdaemon.clock import HostClock
from p2pdaemon.collector import Collector
from p2pdaemon.config import DaemonConfig
from p2pdaemon.journal import Journal
from p2pdaemon.service_process import ServiceProcess
from p2pdaemon.store import ReleaseStore
from p2pdaemon.svc_mgr import SvcMgr
from p2pdeploy.activation.effects import (
    Attest,
    Change,
    Effect,
    Persist,
    Run,
    Stage,
    StopStaging,
    Wake,
)
from p2pdeploy.activation.events import (
    Activated,
    ActivationFailed,
    Booted,
    Event,
    MembersChanged,
    Now,
    Persisted,
    Progressed,
    ServiceBroke,
    ServiceRan,
    Staged,
    StagingFailed,
    Woken,
)
from p2pdeploy.activation.record import ServiceRecord, Started
from p2pdeploy.errors import TrustError, UnavailableError
from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName, ServiceName, Version
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.orders import Build
from tests.p2pdaemon.conftest import a_process

HELLO = ServiceName("hello")
OTHER = ServiceName("other")
BUILD = Build(version=Version("1.0.0"), digest=Digest("ab" * 32))
RECORD = ServiceRecord(service=HELLO, accepted_seq=2)
WORD = Attestation(
    cell=CellId("lab.web.c0"),
    host=HostName("h01"),
    service=HELLO,
    fault_domain=FaultDomain("fd0"),
    epoch=1,
    seq=1,
)
PATIENCE_S = 15.0


class ScriptedCore:
    """Answers each kind of event with the effects of its script, once, and remembers events."""

    def __init__(self, **script: list[Effect]) -> None:
        self.script = script
        self.events: list[Event] = []
        self.arrived = trio.Event()

    def handle(self, event: Event, now: Now) -> list[Effect]:
        self.events.append(event)
        self.arrived.set()
        self.arrived = trio.Event()
        return self.script.pop(type(event).__name__, [])

    async def wait(self, kind: type[Any], count: int = 1) -> Any:
        """The newest event of *kind*, once there are *count* of them."""
        with trio.fail_after(PATIENCE_S):
            while len(found := [event for event in self.events if isinstance(event, kind)]) < count:
                await self.arrived.wait()
        return found[-1]


async def no_stage(service: ServiceName, build: Build) -> Staged:
    raise AssertionError("nothing is to be staged")


class Staging:
    """A stager that never waits for room, unless a test says so."""

    def __init__(self, stage: Callable[[ServiceName, Build], Awaitable[Staged]]) -> None:
        self.stage = stage

    async def wait_room(self, build: Build, error: Exception) -> None:
        await trio.lowlevel.checkpoint()


class Host:
    def __init__(self, config: DaemonConfig, store: ReleaseStore) -> None:
        self.config = config
        self.store = store
        self.journal = Journal(config.state_dir / "journal")
        self.published: list[tuple[Attestation, list[ServiceRecord]]] = []
        self.disbelief: TrustError | None = None

    def publish(self, attestation: Attestation) -> None:
        self.published.append((attestation, self.journal.services()))

    @asynccontextmanager
    async def running(
        self,
        core: ScriptedCore,
        *,
        stage: Callable[[ServiceName, Build], Awaitable[Staged]] = no_stage,
        make_process: Callable[[ServiceName], ServiceProcess] | None = None,
    ) -> AsyncGenerator[SvcMgr]:
        """A daemon's SvcMgr; leaving is the daemon's end, and services go on."""
        rng = random.Random(1)
        mgr = SvcMgr(
            core,
            clock=HostClock(kernel=lambda: None, boot_s=trio.current_time),
            journal=self.journal,
            store=self.store,
            collector=Collector(),
            stager=Staging(stage),
            publish=self.publish,
            disbelief=lambda: self.disbelief,
            make_process=make_process or partial(a_process, self.config, self.store),
            rng=rng,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mgr.run)
            yield mgr
            nursery.cancel_scope.cancel()


@pytest.fixture
def host(config: DaemonConfig, store: ReleaseStore, process: ServiceProcess) -> Host:
    """*process* stops what a test leaves running."""
    return Host(config, store)


async def test_what_arrives_during_the_fsync_reaches_the_core_before_persisted(
    host: Host,
) -> None:
    core = ScriptedCore(Woken=[Persist(RECORD, confirm=True)])
    async with host.running(core) as mgr:
        await core.wait(Booted)
        await mgr.send(Woken())
        await mgr.send(MembersChanged(frozenset()))
        await core.wait(Persisted)
        kinds = [type(event) for event in core.events]
        assert kinds.index(MembersChanged) < kinds.index(Persisted)


async def test_a_record_is_on_disk_before_what_depends_on_it(host: Host) -> None:
    core = ScriptedCore(Booted=[Persist(RECORD, confirm=True), Attest(WORD)])
    async with host.running(core):
        await core.wait(Persisted)
    assert host.published == [(WORD, [RECORD])]
    assert core.events == [Booted(), Persisted(HELLO)]


async def test_a_disk_that_refuses_a_record_holds_what_follows_it_and_ends_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, object]]
) -> None:
    monkeypatch.setattr(svc_mgr, "WRITE_AGAIN_FIRST_S", 0.01)
    in_the_way = host.config.state_dir / "journal/services/hello#new"
    in_the_way.mkdir()
    core = ScriptedCore(Booted=[Persist(record=RECORD, confirm=True), Attest(attestation=WORD)])
    async with host.running(core):
        with trio.fail_after(PATIENCE_S):
            while not logged:  # noqa: ASYNC110  a thread of the disk's is under way
                await trio.sleep(0.01)
        assert (core.events, host.published) == ([Booted()], [])
        in_the_way.rmdir()
        await core.wait(Persisted)
    assert host.published == [(WORD, [RECORD])]
    assert logged[0]["code"] == "journal-unwritable"


async def test_a_service_whose_folder_cannot_be_made_is_reported_and_ends_nothing(
    host: Host,
) -> None:
    core = ScriptedCore(Booted=[Run(service=HELLO, build=BUILD)])

    def on_a_full_disk(service: ServiceName) -> ServiceProcess:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with host.running(core, make_process=on_a_full_disk):
        broke = await core.wait(ServiceBroke)
    assert broke.code == "disk-full"


async def test_while_nobody_believes_this_host_nothing_reaches_the_core(
    host: Host, autojump_clock: trio.testing.MockClock, logged: list[dict[str, object]]
) -> None:
    core = ScriptedCore()
    async with host.running(core) as mgr:
        await core.wait(Booted)
        host.disbelief = TrustError("enrolment 2 of 'h01' is revoked", code="revoked")
        for number in range(3):
            await mgr.send(MembersChanged(frozenset({HostName(f"h{number}")})))
        await trio.sleep(600)
        assert core.events == [Booted()]
        [line] = [entry for entry in logged if entry["level"] == "error"]
        assert (line["code"], "join TOKEN --again" in str(line["hint"])) == ("revoked", True)
        host.disbelief = None
        await core.wait(MembersChanged, 3)


async def test_a_daemon_that_starts_unbelieved_begins_nothing(
    host: Host, autojump_clock: trio.testing.MockClock
) -> None:
    core = ScriptedCore(Booted=[Run(service=HELLO, build=BUILD, start=True)])
    host.disbelief = TrustError("enrolment 2 of 'h01' is revoked", code="revoked")
    async with host.running(core):
        await trio.sleep(600)
        assert core.events == []


async def test_a_wake_comes_at_its_time_and_a_newer_one_replaces_it(
    host: Host, autojump_clock: trio.testing.MockClock
) -> None:
    start_s = trio.current_time()
    core = ScriptedCore(Booted=[Wake(start_s + 9000), Wake(start_s + 100)])
    async with host.running(core):
        await trio.sleep(99)
        assert core.events == [Booted()]
        await trio.sleep(2)
        assert core.events == [Booted(), Woken()]
        await trio.sleep(10_000)
        assert core.events == [Booted(), Woken()]


async def test_staging_goes_on_until_it_succeeds_whatever_fails(
    host: Host, autojump_clock: trio.testing.MockClock
) -> None:
    faults: list[Exception] = [UnavailableError("origin down", code="down"), ZeroDivisionError()]
    done = Staged(service=HELLO, digest=BUILD.digest, fetched_bytes=7)

    async def stage(service: ServiceName, build: Build) -> Staged:
        if faults:
            raise faults.pop(0)
        return done

    core = ScriptedCore(Booted=[Stage(HELLO, BUILD)])
    async with host.running(core, stage=stage):
        assert await core.wait(Staged) == done
    failures = [event for event in core.events if isinstance(event, StagingFailed)]
    assert [failure.code for failure in failures] == ["down", "internal"]
    assert "origin down" in failures[0].reason


async def test_a_fetch_that_nobody_asks_for_any_more_is_cancelled(host: Host) -> None:
    begun, ended = trio.Event(), trio.Event()

    async def stage(service: ServiceName, build: Build) -> Staged:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    core = ScriptedCore(Booted=[Stage(HELLO, BUILD)], Woken=[StopStaging(HELLO)])
    async with host.running(core, stage=stage) as mgr:
        with trio.fail_after(PATIENCE_S):
            await begun.wait()
            await mgr.send(Woken())
            await ended.wait()
    assert core.events == [Booted(), Woken()], "that is no failure"


async def test_a_build_is_fetched_again_after_its_fetch_was_called_off(host: Host) -> None:
    async def stage(service: ServiceName, build: Build) -> Staged:
        return Staged(service=service, digest=build.digest)

    core = ScriptedCore(Booted=[Stage(HELLO, BUILD), StopStaging(HELLO), Stage(HELLO, BUILD)])
    async with host.running(core, stage=stage):
        await core.wait(Staged)
    assert len([event for event in core.events if isinstance(event, Staged)]) == 1


async def test_one_services_crash_does_not_touch_another(host: Host) -> None:
    crashed = trio.Event()

    class BrokenProcess(ServiceProcess):
        async def stop(self) -> None:
            crashed.set()
            raise ZeroDivisionError

    def make(service: ServiceName) -> ServiceProcess:
        return a_process(host.config, host.store, service, kind=BrokenProcess)

    async def stage(service: ServiceName, build: Build) -> Staged:
        await crashed.wait()
        return Staged(service=service, digest=build.digest)

    started = Started(plan_seq=2, build=None, previous=BUILD, bake_s=0, activation_max_s=60)
    core = ScriptedCore(Booted=[Change(HELLO, started), Stage(OTHER, BUILD)])
    async with host.running(core, stage=stage, make_process=make):
        assert (await core.wait(Staged)).service == OTHER
        failed = await core.wait(ActivationFailed)
    assert (failed.code, failed.restored, failed.started) == ("internal", False, started)


@pytest.mark.processes
async def test_a_change_then_supervision_then_adoption_by_the_next_daemon(
    host: Host, release: Callable[..., Build], process: ServiceProcess
) -> None:
    build = release("1.0.0")
    started = Started(plan_seq=2, build=build, previous=None, bake_s=0.2, activation_max_s=20)
    core = ScriptedCore(Booted=[Change(HELLO, started)], Activated=[Run(HELLO, build)])
    async with host.running(core):
        activated = await core.wait(Activated)
        ran = await core.wait(ServiceRan)
    assert ran.port == activated.port
    assert [e.state for e in core.events if isinstance(e, Progressed)] == ["starting", "baking"]

    before = await process.adopt()
    core = ScriptedCore(Booted=[Run(HELLO, build)])
    async with host.running(core):
        assert (await core.wait(ServiceRan)).port == activated.port
    after = await process.adopt()
    assert before is not None
    assert after is not None
    assert before.running == after.running


@pytest.mark.processes
async def test_a_service_that_is_killed_is_started_again(
    host: Host, release: Callable[..., Build], process: ServiceProcess
) -> None:
    build = release("1.0.0")
    core = ScriptedCore(Booted=[Run(HELLO, build)])
    async with host.running(core):
        await core.wait(ServiceRan)
        run = await process.adopt()
        assert run is not None
        os.kill(run.running.record.child_pid, signal.SIGKILL)
        again = await core.wait(ServiceRan, count=2)
    assert again.port == run.port
    assert host.store.current(HELLO) == build.digest


@pytest.mark.processes
async def test_a_service_that_turns_sick_is_reported_and_left_alone(
    host: Host, release: Callable[..., Build], process: ServiceProcess
) -> None:
    build = release("1.0.0", "sicken")
    core = ScriptedCore(Booted=[Run(HELLO, build)])
    async with host.running(core):
        broke = await core.wait(ServiceBroke)
    assert broke.code == "unhealthy"
    assert "500" in broke.reason
    run = await process.adopt()
    assert run is not None
    assert broke.port == run.port, "it listens all the same"


@pytest.mark.processes
async def test_a_service_that_may_not_run_is_stopped(
    host: Host, release: Callable[..., Build], process: ServiceProcess
) -> None:
    build = release("1.0.0")
    core = ScriptedCore(Booted=[Run(HELLO, build)], ServiceRan=[Run(HELLO, None)])
    async with host.running(core):
        await core.wait(ServiceRan)
        with trio.fail_after(PATIENCE_S):
            while host.store.current(HELLO) is not None:  # noqa: ASYNC110 no event tells
                await trio.sleep(0.01)
        assert await process.adopt() is None
