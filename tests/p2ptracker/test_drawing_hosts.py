"""Who draws from the origin: each host once, until it has everything or is silent."""

from __future__ import annotations

from p2pdeploy.ids import CellId, HostName
from p2ptracker.drawing_hosts import SILENT_S, DrawingHosts

CELL, OTHER = CellId("lab.web.c0"), CellId("lab.web.c1")
A, B, C = (HostName(name) for name in "abc")


def test_a_host_counts_once_and_in_its_own_cell_only():
    hosts = DrawingHosts()
    assert hosts.note(CELL, A, 0.0, draws=True) == 1
    assert hosts.note(CELL, A, 0.1, draws=True) == 1
    assert hosts.note(CELL, B, 0.2, draws=True) == 2
    assert hosts.note(OTHER, C, 0.3, draws=True) == 1


def test_a_host_that_has_everything_draws_no_more():
    hosts = DrawingHosts()
    hosts.note(CELL, A, 0.0, draws=True)
    hosts.note(CELL, B, 0.0, draws=True)
    assert hosts.note(CELL, A, 1.0, draws=False) == 1


def test_a_silent_host_draws_no_more():
    hosts = DrawingHosts()
    hosts.note(CELL, A, 0.0, draws=True)
    assert hosts.note(CELL, B, SILENT_S - 0.1, draws=True) == 2
    assert hosts.note(CELL, B, SILENT_S + 1.0, draws=True) == 1
