"""A cell's gossip keys rotate after a revocation, in three steps that are minutes apart."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trio

from p2pdeploy.ids import CellId
from p2pdeploy.trust.cell_keys import ROTATION_STEP_WAIT_S, CellKeys, first_cell_keys
from p2ptracker.authority.cell_rings import ring_of
from p2ptracker.authority.create import create_trust
from p2ptracker.authority.folder import TrustFolder
from p2ptracker.enrolment.rotating import LOOK_EVERY_S, RingFiles, RingRotator, next_ring

CELL = CellId("lab.web.c0")
A_STEP_S = ROTATION_STEP_WAIT_S + LOOK_EVERY_S + 1


@pytest.fixture
def trust(tmp_path: Path) -> TrustFolder:
    return create_trust(tmp_path, "lab", now=dt.datetime.now(dt.UTC))


def shape(ring: CellKeys) -> tuple[tuple[int, ...], int]:
    return ring.epochs, ring.sending


class InMemory:
    """Without threads: a clock that jumps does not wait for them."""

    def __init__(self) -> None:
        self.ring = first_cell_keys(CELL, b"1" * 32)

    async def read(self, cell: CellId) -> CellKeys:
        await trio.lowlevel.checkpoint()
        return self.ring

    async def write(self, ring: CellKeys) -> None:
        await trio.lowlevel.checkpoint()
        self.ring = ring


async def test_a_rotation_takes_three_steps(
    autojump_clock: trio.testing.MockClock,
) -> None:
    rings = InMemory()
    old = rings.ring
    rotator = RingRotator(rings, lambda: [CELL])
    seen = [shape(old)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rotator.rotate_rings)
        await rotator.begin(CELL)
        seen.append(shape(rings.ring))
        for _ in range(2):
            await trio.sleep(ROTATION_STEP_WAIT_S / 2)
            assert shape(rings.ring) == seen[-1], "not before everybody has asked"
            await trio.sleep(A_STEP_S - ROTATION_STEP_WAIT_S / 2)
            seen.append(shape(rings.ring))
        nursery.cancel_scope.cancel()
    assert seen == [((1,), 1), ((1, 2), 1), ((1, 2), 2), ((2,), 2)]
    assert dict(rings.ring.keys)[2] not in dict(old.keys).values()


async def test_a_restart_goes_on_with_a_rotation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    rings = InMemory()
    await RingRotator(rings, lambda: [CELL]).begin(CELL)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(RingRotator(rings, lambda: [CELL]).rotate_rings)
        await trio.sleep(3 * A_STEP_S)
        nursery.cancel_scope.cancel()
    assert shape(rings.ring) == ((2,), 2)


async def test_a_host_revoked_when_the_ring_is_full_gets_keys_that_hold_for_minutes_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    rings = InMemory()
    rotator = RingRotator(rings, lambda: [CELL])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rotator.rotate_rings)
        for _ in range(5):
            await rotator.begin(CELL)
        known_to_the_last = dict(rings.ring.keys)
        await trio.sleep(8 * A_STEP_S)
        nursery.cancel_scope.cancel()
    ring = rings.ring
    assert next_ring(ring) is None
    assert not dict(ring.keys).keys() & known_to_the_last.keys()


def test_the_first_ring_is_made_once(trust: TrustFolder) -> None:
    """Hosts that join at the same time must get the same keys."""
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: ring_of(trust, CELL), range(32)))
    assert len({ring.keys for ring in rings}) == 1


async def test_rings_are_kept_in_the_trust_folder(trust: TrustFolder) -> None:
    rings = RingFiles(trust)
    await RingRotator(rings, lambda: [CELL]).begin(CELL)
    assert shape(await RingFiles(trust).read(CELL)) == ((1, 2), 1)
