"""The simulator: the production cores on a simulated clock, network, disk and process table.

Reading order:

* :mod:`~p2psim.options`: a seed -> one world's size, script and faults
* :mod:`~p2psim.world`: the event heap and the clock
* :mod:`~p2psim.network`: which messages arrive, when, how often
* :mod:`~p2psim.life`, :mod:`~p2psim.disk` and :mod:`~p2psim.processes`: what one host is made of
* :mod:`~p2psim.host_gossip`: its gossip core over the network
* :mod:`~p2psim.host_services`: what it does to its services, over time
* :mod:`~p2psim.host`: one host: these under its activation core
* :mod:`~p2psim.control`: the control plane: replica, planner, conductor
* :mod:`~p2psim.faults`: what dies, stops, is cut off or tells the wrong time
* :mod:`~p2psim.late_host`: a plan opened while a host catches up with the last
* :mod:`~p2psim.scenario`: rollouts and operators over time
* :mod:`~p2psim.checkers`: the invariants, judged against ground truth
* :mod:`~p2psim.run`: one seed from start to verdict
"""
