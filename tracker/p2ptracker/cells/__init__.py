"""The cells as the control plane knows them.

* :mod:`~p2ptracker.cells.replica`: one cell as its delegates tell of it
* :mod:`~p2ptracker.cells.numbers`: the numbers that an order makes hosts remember
* :mod:`~p2ptracker.cells.replicas`: every cell, and what is durable of it
* :mod:`~p2ptracker.cells.sealed_orders`: sealed orders, and the rows of what is durable
* :mod:`~p2ptracker.cells.sealing_anew`: orders that stand, under the key that took over
* :mod:`~p2ptracker.cells.standing_rollouts`: ROLLOUTs among them, and who signed these
* :mod:`~p2ptracker.cells.settled_elsewhere`: a host that what settled last leaves out
* :mod:`~p2ptracker.cells.fleet`: what runs where, as people ask for it
* :mod:`~p2ptracker.cells.gateways`: with whom a cell's gateways exchange pieces
* :mod:`~p2ptracker.cells.daemons`: where the daemons answer

Replica, standing_rollouts, settled_elsewhere, fleet and gateways are pure.
"""
