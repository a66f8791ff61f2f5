"""Each part of what the control plane says of trust proves itself; one failure stops no other."""

from __future__ import annotations

import random

import msgspec
import pytest
import trio

from p2pdaemon.cell_feed import make_gossip
from p2pdaemon.config import DaemonConfig
from p2pdaemon.learn_trust import TrustLearner
from p2pdaemon.refused import Refused
from p2pdeploy.codec import decode
from p2pdeploy.errors import P2PDeployError, TrustError, UnavailableError
from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.messages.enrolment import CellTrust
from p2pdeploy.testing.fleet_keys import FleetKeys
from p2pdeploy.testing.orders import CELL
from p2pdeploy.trust.cell_keys import CellKeys, add_epoch, first_cell_keys
from p2pdeploy.trust.host_identity import load_revocations
from p2pdeploy.trust.private_files import make_private_folder
from p2pdeploy.trust.revocations import Revocations

RING = first_cell_keys(CELL, b"g" * 32)
NEXT_RING = add_epoch(RING, b"h" * 32)
H2 = HostName("h02")
REVOKED = Revocations(
    fleet="lab", cell=CELL, seq=1, floors={H2: 2}, refused={H2: "127.9.9.2"}, serials=()
)


class ControlPlaneStandIn:
    """Answers with *trust*, and lets a test wait until all of an answer was dealt with."""

    def __init__(self, trust: CellTrust) -> None:
        self.trust = trust
        self._asked = trio.Event()

    async def cell_trust(self, cell: CellId) -> CellTrust:
        await trio.lowlevel.checkpoint()
        self._asked.set()
        return self.trust

    async def asked_again(self) -> None:
        """The answer after the next one is asked for: the next was taken as far as it will be."""
        for _ in range(2):
            self._asked = trio.Event()
            await self._asked.wait()


class Bench:
    """One host's learner with its real gossip, which is never started."""

    def __init__(self, folder) -> None:
        make_private_folder(folder)
        self.keys, self.folder = FleetKeys(), folder
        config = DaemonConfig(
            name=HostName("h01"),
            address="127.9.9.1",
            environment="lab",
            machine_function="web",
            cell=CELL,
            fault_domain=FaultDomain("fd0"),
            api="https://127.0.0.1:1",
            state_dir=folder,
        )
        self.refused = Refused("lab", CELL)
        gossip = make_gossip(config, RING, self.keys.verifier)
        honest = CellTrust(
            revocations=self.keys.seal(REVOKED), cell_keys=NEXT_RING, targets_version=2
        )
        self.control = ControlPlaneStandIn(honest)
        self.orders_fail: P2PDeployError | OSError | None = None
        self.versions: list[int] = []
        self.learner = TrustLearner(
            CELL,
            folder,
            self.control,
            gossip,
            self.refused,
            lambda: None,
            self._learn_orders,
            random.Random(1),
        )
        gossip.subscribe(self.learner.hear)

    async def _learn_orders(self, version: int) -> None:
        await trio.lowlevel.checkpoint()
        self.versions.append(version)
        if self.orders_fail is not None:
            raise self.orders_fail

    @property
    def kept_ring(self) -> CellKeys | None:
        """The cell's keys on disk, which gossip took before."""
        path = self.folder / "cell-keys"
        return decode(path.read_bytes(), CellKeys, bytes_max=4096) if path.exists() else None


@pytest.fixture
async def bench(nursery, tmp_path) -> Bench:
    made = Bench(tmp_path / "identity")
    nursery.start_soon(made.learner.learn_trust)
    return made


@pytest.mark.parametrize(
    "problem",
    [
        UnavailableError("no bundle"),
        TrustError("not signed as it must be", code="release-wrong-key"),
        OSError("the disk is full"),
    ],
)
async def test_a_revocation_is_learnt_though_order_keys_are_not(
    bench, problem, autojump_clock
) -> None:
    bench.orders_fail = problem
    await bench.control.asked_again()
    assert bench.refused.hosts == {H2: "127.9.9.2"}
    assert load_revocations(bench.folder) == bench.control.trust.revocations
    assert bench.kept_ring == NEXT_RING


async def test_order_keys_are_asked_for_until_they_are_learnt(bench, autojump_clock) -> None:
    bench.orders_fail = UnavailableError("no bundle")
    await bench.control.asked_again()
    failed = len(bench.versions)
    bench.orders_fail = None
    await bench.control.asked_again()
    assert len(bench.versions) > failed >= 1


async def test_forged_revocations_are_not_kept_and_keep_nothing_else_out(
    bench, autojump_clock
) -> None:
    honest = bench.control.trust
    forged = FleetKeys().seal(REVOKED)
    bench.control.trust = msgspec.structs.replace(honest, revocations=forged)
    await bench.control.asked_again()
    assert (bench.refused.hosts, load_revocations(bench.folder)) == ({}, b"")
    assert (bench.versions[-1], bench.kept_ring) == (2, NEXT_RING)
    bench.control.trust = honest
    await bench.control.asked_again()
    assert bench.refused.hosts == {H2: "127.9.9.2"}


async def test_keys_of_another_cell_are_not_kept_and_keep_no_revocation_out(
    bench, autojump_clock
) -> None:
    foreign = first_cell_keys(CellId("lab.web.c9"), b"?" * 32)
    bench.control.trust = msgspec.structs.replace(bench.control.trust, cell_keys=foreign)
    await bench.control.asked_again()
    assert bench.refused.hosts == {H2: "127.9.9.2"}
    assert bench.kept_ring is None
