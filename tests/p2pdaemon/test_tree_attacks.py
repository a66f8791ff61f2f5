"""A release that changes after it was verified is never started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.get_and_run_svc import GetAndRunSvc
from p2pdaemon.keep_running import keep_running
from p2pdaemon.service_process import ServiceProcess
from p2pdaemon.store import ReleaseStore
from p2pdeploy.activation.events import Activated, ActivationFailed, ServiceRan
from p2pdeploy.activation.record import Started
from p2pdeploy.errors import IntegrityError
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.attestation import ServiceState
from p2pdeploy.messages.orders import Build
from p2pdeploy.payload import stage
from tests.p2pdaemon.conftest import HELLO, a_process, stage_release

pytestmark = pytest.mark.processes
Release = Callable[..., Build]


def started(build: Build | None, previous: Build | None) -> Started:
    return Started(build=build, previous=previous, plan_seq=4, bake_s=0.2, activation_max_s=20.0)


async def unheard(_state: ServiceState, _port: int) -> None:
    await trio.lowlevel.checkpoint()


async def change(
    process: ServiceProcess, store: ReleaseStore, build: Build, previous: Build | None = None
) -> Activated | ActivationFailed:
    step = GetAndRunSvc(process, store, unheard)
    with trio.fail_after(21):
        return await step.change(started(build, previous), resume=False)


def swap(store: ReleaseStore, build: Build, text: str = "sick") -> None:
    """Replace one file of the staged tree by another of the same length, as root could."""
    file = store.tree(build.digest) / "behaviour"
    size_bytes = file.stat().st_size
    file.parent.chmod(0o755)
    file.unlink()
    file.write_text(text.ljust(size_bytes)[:size_bytes])
    file.chmod(0o444)
    file.parent.chmod(0o555)


class Origin:
    """Stages a build from scratch, as the mesh would."""

    def __init__(self, store: ReleaseStore, tmp_path: Path) -> None:
        self.store = store
        self.trees = tmp_path / "trees"
        self.asked: list[str] = []

    async def restage(self, _service: ServiceName, build: Build) -> None:
        self.asked.append(build.version)
        self.store.discard(build.digest)
        stage_release(self.store, self.trees / build.version, build.version)
        await trio.lowlevel.checkpoint()


@pytest.fixture
def origin(store: ReleaseStore, tmp_path: Path) -> Origin:
    return Origin(store, tmp_path)


@pytest.fixture
async def host(config: DaemonConfig, store: ReleaseStore, origin: Origin):
    process = a_process(config, store, restage=origin.restage)
    yield process
    with trio.CancelScope(shield=True):
        await process.stop()


async def test_a_file_swapped_after_verification_is_not_started(
    process: ServiceProcess, store: ReleaseStore, release: Release
) -> None:
    """Nobody can stage it anew: the change fails before anything is touched."""
    old, new = release("1.0.0"), release("1.1.0")
    assert isinstance(await change(process, store, old), Activated)
    before = await process.adopt()
    store.verify(new.digest)
    swap(store, new)
    outcome = await change(process, store, new, old)
    assert isinstance(outcome, ActivationFailed)
    assert outcome.restored
    after = await process.adopt()
    assert before is not None
    assert after is not None
    assert after.running.record.child == before.running.record.child, "it went on running"
    assert store.current(HELLO) == old.digest
    with pytest.raises(IntegrityError) as caught:
        await process.start(new)
    assert (caught.value.code, caught.value.where) == ("tree-differs", "behaviour")


async def test_a_swapped_file_is_staged_anew_from_scratch_and_then_started(
    host: ServiceProcess, store: ReleaseStore, release: Release, origin: Origin
) -> None:
    build = release("1.0.0")
    swap(store, build)
    assert isinstance(await change(host, store, build), Activated)
    assert origin.asked == ["1.0.0"]
    assert (store.tree(build.digest) / "behaviour").read_text() == "good"


async def test_a_switch_refuses_a_tree_that_was_swapped_after_the_preflight(
    process: ServiceProcess,
    store: ReleaseStore,
    release: Release,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, new = release("1.0.0"), release("1.1.0")
    assert isinstance(await change(process, store, old), Activated)
    stop = process.stop

    async def stop_and_swap() -> None:
        await stop()
        swap(store, new)

    with monkeypatch.context() as patch:
        patch.setattr(process, "stop", stop_and_swap)
        outcome = await change(process, store, new, old)
    assert isinstance(outcome, ActivationFailed)
    assert (outcome.code, outcome.restored) == ("tree-differs", True)
    assert "behaviour" in outcome.reason
    assert store.current(HELLO) == old.digest
    run = await process.adopt()
    assert run is not None
    assert run.digest == old.digest


def test_a_switch_to_a_tree_that_differs_leaves_the_links(
    store: ReleaseStore, release: Release
) -> None:
    old, new = release("1.0.0"), release("1.1.0")
    store.switch(HELLO, old.digest)
    swap(store, new)
    with pytest.raises(IntegrityError, match=r"behaviour: .*tree is staged anew"):
        store.switch(HELLO, new.digest)
    assert store.current(HELLO) == old.digest


async def test_a_tree_swapped_between_switch_and_start_is_not_started(
    process: ServiceProcess, store: ReleaseStore, release: Release
) -> None:
    build = release("1.0.0")
    store.switch(HELLO, build.digest)
    swap(store, build)
    with pytest.raises(IntegrityError, match="behaviour"):
        await process.start(build)
    assert await process.adopt() is None


async def test_a_tree_that_something_runs_from_is_never_taken_from_under_it(
    host: ServiceProcess, store: ReleaseStore, release: Release, origin: Origin
) -> None:
    build = release("1.0.0")
    assert isinstance(await change(host, store, build), Activated)
    swap(store, build)
    with pytest.raises(IntegrityError, match="tree is staged anew"):
        await host.make_ready(build)
    assert origin.asked == []


async def test_a_release_deleted_on_disk_is_staged_anew_at_the_next_start(
    host: ServiceProcess, store: ReleaseStore, release: Release, origin: Origin
) -> None:
    build = release("1.0.0")
    assert isinstance(await change(host, store, build), Activated)
    await host.stop()
    stage._delete(store.tree(build.digest))
    ran = trio.Event()

    async def tell(event: object) -> None:
        if isinstance(event, ServiceRan):
            ran.set()
        await trio.lowlevel.checkpoint()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_running, host, store, build, tell)
            await ran.wait()
            nursery.cancel_scope.cancel()
    assert origin.asked == ["1.0.0"]
