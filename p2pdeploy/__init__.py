"""The library that the daemon, the control plane, the command line and the simulator share.

Reading order:

* nouns: :mod:`~p2pdeploy.ids`, :mod:`~p2pdeploy.manifest`, :mod:`~p2pdeploy.topology`
* what goes over a wire: :mod:`~p2pdeploy.messages`, :mod:`~p2pdeploy.codec`,
  :mod:`~p2pdeploy.limits`, :mod:`~p2pdeploy.errors`, :mod:`~p2pdeploy.trust`
* what BitTorrent gave us: :mod:`~p2pdeploy.bencode`, :mod:`~p2pdeploy.merkle`
* pure cores: :mod:`~p2pdeploy.gossip`, :mod:`~p2pdeploy.activation`,
  :mod:`~p2pdeploy.planning`, :mod:`~p2pdeploy.swarm`
* what may go to a terminal: :mod:`~p2pdeploy.printable`
* which process a pid means: :mod:`~p2pdeploy.process_identity`; how a run of a program ends:
  :mod:`~p2pdeploy.command_line`
* shells that touch disk and network: the modules that ARCHITECTURE.md names as shells

Imports point one way: shells -> cores -> nouns.
"""

__version__ = "0.1.0"
