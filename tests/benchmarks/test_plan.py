"""Where a lab's hosts stand, and what its cables bound."""

from __future__ import annotations

from collections import Counter

import pytest
from lab.bound import bound_s
from lab.plan import plan_lab

MIB = 1 << 20


def test_hosts_fill_racks_and_cells_evenly() -> None:
    plan = plan_lab(hosts=24, mbit=10, cells=2, wan_mbit=20, racks=3, uplink_mbit=10)
    assert Counter((host.cell, host.rack) for host in plan.hosts) == {
        (cell, rack): 4 for cell in range(2) for rack in range(3)
    }
    assert len({host.address for host in plan.machines}) == 25
    assert Counter(cable.kind for cable in plan.cables) == {"cell": 2, "rack": 6}
    assert {host.switch for host in plan.hosts} == {
        cable.lower for cable in plan.cables if cable.kind == "rack"
    }


@pytest.mark.parametrize(("hosts", "racks"), [(10, 3), (0, 1), (241, 1)])
def test_hosts_that_do_not_fill_it_are_refused(hosts: int, racks: int) -> None:
    with pytest.raises(ValueError, match="hosts"):
        plan_lab(hosts=hosts, mbit=10, racks=racks)


def test_among_equals_the_bound_is_one_copy_and_the_filling_of_the_pipeline() -> None:
    plan = plan_lab(hosts=16, mbit=20)
    assert bound_s(plan, 64 * MIB, 1024, 0.95) == pytest.approx(
        64 * MIB * 8 / 19e6 * (1 + 4 / 1024)
    )


SLOWER_CABLES = {
    "origin": plan_lab(hosts=16, mbit=20, origin_mbit=5),
    "rack": plan_lab(hosts=16, mbit=20, racks=4, uplink_mbit=5),
    "cell": plan_lab(hosts=16, mbit=20, cells=4, wan_mbit=5),
}


@pytest.mark.parametrize("cable", SLOWER_CABLES)
def test_the_slowest_cable_decides(cable: str) -> None:
    assert bound_s(SLOWER_CABLES[cable], 64 * MIB, 1024, 1.0) == pytest.approx(
        64 * MIB * 8 / 5e6 * (1 + 4 / 1024)
    )
