"""The story that ``p2pctl demo`` tells on a fleet of its own, and checks line by line.

* :mod:`~p2pctl.demo.payloads`: three versions of ``examples/hello`` with generated data
* :mod:`~p2pctl.demo.story`: publish and roll out each, and what must come of it
* :mod:`~p2pctl.demo.served`: ask every host's service itself for its version
* :mod:`~p2pctl.demo.loopback`: the limit that the distribution is measured against
"""
