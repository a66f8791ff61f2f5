"""Fault-domain-by-fault-domain activation on one host, as a pure state machine.

Reading order:

* :mod:`~p2pdeploy.activation.record`: what a host persists per service
* :mod:`~p2pdeploy.activation.events` and :mod:`~p2pdeploy.activation.effects`
* :mod:`~p2pdeploy.activation.lease`: when a GO counts, and when the clock does
* :mod:`~p2pdeploy.activation.time_floor`: the latest time that was signed
* :mod:`~p2pdeploy.activation.bounds`: what people approved, against each order
* :mod:`~p2pdeploy.activation.gate`: when the hosts before me have done well enough
* :mod:`~p2pdeploy.activation.service`: one service's orders and evidence, and what they ask for
* :mod:`~p2pdeploy.activation.permission`: whether an order is allowed now
* :mod:`~p2pdeploy.activation.rules`: the next step of one service
* :mod:`~p2pdeploy.activation.transitions`: what an event does to a service's record
* :mod:`~p2pdeploy.activation.attesting`: what the cell is told of it
* :mod:`~p2pdeploy.activation.host`: the core that a daemon drives
"""
