"""Two cells of one target with real programs: the origin sends one copy, and one enters each."""

from __future__ import annotations

import pytest

from tests.integration.namespaces import why_not
from tests.integration.small_lab import undisturbed

_WHY_NOT = why_not()
pytestmark = [
    pytest.mark.processes,
    # Nobody but root makes namespaces.  `.ci/run` runs as root; elsewhere the reason is printed.
    pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT),
]


def test_the_origin_sends_one_copy_to_two_cells_and_one_enters_each() -> None:
    row = undisturbed(hosts=4, cells=2, mbit=40.0, wan_mbit=80.0, mib=16)
    assert row["hosts"] == 4
    # Signatures, manifests and what hosts say pass the cables as well; that of two dealers is 2.
    assert row["origin_egress_f"] < 1.3
    assert row["cross_cell_copies"] < 1.3
