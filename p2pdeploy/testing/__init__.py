"""Worlds and builders for tests: the real cores under a clock, a network and faults we own.

* :mod:`~p2pdeploy.testing.gossip_world`: a cell of gossip cores on one event heap
* :mod:`~p2pdeploy.testing.activation_bench`: one host's activation core, and orders for it
"""
