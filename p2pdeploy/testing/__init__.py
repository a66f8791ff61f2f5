"""Worlds and builders for tests: the real cores under a clock, a network and faults we own.

* :mod:`~p2pdeploy.testing.gossip_world`: a cell of gossip cores on one event heap
* :mod:`~p2pdeploy.testing.orders`: orders and attestations, made by the real planner
* :mod:`~p2pdeploy.testing.activation_bench`: one host's activation core
* :mod:`~p2pdeploy.testing.cell_bench`: a cell as the conductor sees it
"""
