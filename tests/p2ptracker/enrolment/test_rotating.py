"""A cell's gossip keys rotate after a revocation, in three steps that are minutes apart."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trio
from prometheus_client import Counter
from structlog.testing import capture_logs

from p2pdeploy.errors import ConfigError
from p2pdeploy.ids import CellId
from p2pdeploy.trust.cell_keys import (
    EPOCHS_MAX,
    ROTATION_STEP_WAIT_S,
    CellKeys,
    first_cell_keys,
)
from p2ptracker.authority.cell_rings import ring_of
from p2ptracker.authority.create import create_trust
from p2ptracker.authority.folder import TrustFolder
from p2ptracker.control_plane import open_control_plane
from p2ptracker.enrolment.rotating import LOOK_EVERY_S, RingRotator, Rings, next_ring
from p2ptracker.storage.rings_to_rotate import wanted_keys

CELL = CellId("lab.web.c0")
A_STEP_S = ROTATION_STEP_WAIT_S + LOOK_EVERY_S + 1


@pytest.fixture
def trust(tmp_path: Path) -> TrustFolder:
    return create_trust(tmp_path, "lab", now=dt.datetime.now(dt.UTC))


def rotator_of(rings: Rings) -> RingRotator:
    return RingRotator(rings, lambda: [CELL], Counter("failures", "", registry=None))


def shape(ring: CellKeys) -> tuple[tuple[int, ...], int]:
    return ring.epochs, ring.sending


class InMemory:
    """Without threads: a clock that jumps does not wait for them."""

    def __init__(self) -> None:
        self.ring = first_cell_keys(CELL, b"1" * 32)
        self.revocations = 0
        self.fault: Exception | None = None

    def revoke(self) -> None:
        self.revocations += 1

    async def wanted(self) -> dict[CellId, int]:
        await trio.lowlevel.checkpoint()
        return {CELL: self.revocations} if self.revocations else {}

    async def note_new_key(self, cell: CellId, revocations: int) -> None:
        await trio.lowlevel.checkpoint()
        if self.revocations == revocations:
            self.revocations = 0

    async def read(self, cell: CellId) -> CellKeys:
        await trio.lowlevel.checkpoint()
        if self.fault is not None:
            raise self.fault
        return self.ring

    async def write(self, ring: CellKeys) -> None:
        await trio.lowlevel.checkpoint()
        self.ring = ring


async def test_a_rotation_takes_three_steps(
    autojump_clock: trio.testing.MockClock,
) -> None:
    rings = InMemory()
    old = rings.ring
    rotator = rotator_of(rings)
    seen = [shape(old)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rotator.rotate_rings)
        rings.revoke()
        await rotator.begin_wanted()
        seen.append(shape(rings.ring))
        for _ in range(2):
            await trio.sleep(ROTATION_STEP_WAIT_S / 2)
            assert shape(rings.ring) == seen[-1], "not before everybody has asked"
            await trio.sleep(A_STEP_S - ROTATION_STEP_WAIT_S / 2)
            seen.append(shape(rings.ring))
        nursery.cancel_scope.cancel()
    assert seen == [((1,), 1), ((1, 2), 1), ((1, 2), 2), ((2,), 2)]
    assert dict(rings.ring.keys)[2] not in dict(old.keys).values()


async def revoke_in_a_row(rings: InMemory, count: int) -> set[int]:
    """Revoke so many hosts; returns the epochs that the last of them knows."""
    rotator = rotator_of(rings)
    for _ in range(count):
        rings.revoke()
        await rotator.begin_wanted()
    return set(rings.ring.epochs)


async def run_after_a_restart(rings: InMemory, steps: int) -> None:
    rotator = rotator_of(rings)
    await rotator.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rotator.rotate_rings)
        await trio.sleep(steps * A_STEP_S)
        nursery.cancel_scope.cancel()


async def test_a_restart_goes_on_with_a_rotation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    rings = InMemory()
    await revoke_in_a_row(rings, 1)
    await run_after_a_restart(rings, 3)
    assert shape(rings.ring) == ((2,), 2)


@pytest.mark.parametrize("count", [4, 5])
async def test_no_key_that_a_revoked_host_may_hold_outlives_a_restart(
    autojump_clock: trio.testing.MockClock, count: int
) -> None:
    """The ring has room for three new keys; later ones wait, and the wait must be remembered."""
    rings = InMemory()
    known_to_the_last = await revoke_in_a_row(rings, count)
    assert len(known_to_the_last) == EPOCHS_MAX
    await run_after_a_restart(rings, 5)
    assert next_ring(rings.ring) is None
    assert not set(rings.ring.epochs) & known_to_the_last


async def test_a_host_revoked_while_a_key_is_made_gets_another_one_made(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It may have asked for the ring just after that key was written."""
    rings = InMemory()
    rings.revoke()
    write = rings.write

    async def write_and_revoke(ring: CellKeys) -> None:
        await write(ring)
        rings.revoke()

    rings.write = write_and_revoke
    await rotator_of(rings).begin_wanted()
    rings.write = write
    await rotator_of(rings).begin_wanted()
    assert rings.ring.epochs == (1, 2, 3)
    assert rings.revocations == 0


@pytest.mark.parametrize("fault", [ConfigError("damaged"), OSError("no room")])
async def test_a_ring_that_cannot_be_read_for_a_while_ends_no_rotation(
    autojump_clock: trio.testing.MockClock, fault: Exception
) -> None:
    rings, failures = InMemory(), Counter("failures", "", registry=None)
    rotator = RingRotator(rings, lambda: [CELL], failures)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rotator.rotate_rings)
        rings.revoke()
        await rotator.begin_wanted()
        rings.fault = fault
        with capture_logs() as logs:
            await trio.sleep(A_STEP_S)
            rings.revoke()
            await rotator.begin_wanted()
        assert {entry["event"] for entry in logs} == {"gossip-keys-not-rotated"}
        assert failures._value.get() >= 2
        rings.fault = None
        await trio.sleep(4 * A_STEP_S)
        nursery.cancel_scope.cancel()
    assert shape(rings.ring) == ((3,), 3)


async def test_a_damaged_ring_is_told_at_the_start() -> None:
    rings = InMemory()
    rings.fault = ConfigError("damaged")
    with pytest.raises(ConfigError):
        await rotator_of(rings).open()


def test_a_damaged_ring_is_told_by_its_file(trust: TrustFolder) -> None:
    ring_of(trust, CELL)
    path = trust.paths.cells / f"{CELL}.keys"
    path.write_bytes(b"xx")
    with pytest.raises(ConfigError) as told:
        ring_of(trust, CELL)
    assert told.value.where == str(path)
    assert "backup" in told.value.hint


def test_the_first_ring_is_made_once(trust: TrustFolder) -> None:
    """Hosts that join at the same time must get the same keys."""
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: ring_of(trust, CELL), range(32)))
    assert len({ring.keys for ring in rings}) == 1


async def test_a_kill_right_after_a_revocation_loses_no_rotation(fleet_dir: Path, started) -> None:
    """The database knows of the revocation, and the file of the ring does not."""
    async with open_control_plane(fleet_dir) as plane:
        before = ring_of(plane.trust, CELL)
        with trio.CancelScope() as killed:
            plane.rotator.begin_wanted = trio.sleep_forever
            plane.revoker._tell = lambda cell: killed.cancel()
            await plane.revoker.revoke_host("h02", "stolen")
        assert killed.cancelled_caught
        assert ring_of(plane.trust, CELL) == before
    async with started(fleet_dir) as tracker:
        with trio.fail_after(10):
            while True:
                if not await tracker.plane.database.read(wanted_keys):
                    break
                await trio.sleep(0.01)
        assert shape(ring_of(tracker.plane.trust, CELL)) == ((1, 2), 1)
