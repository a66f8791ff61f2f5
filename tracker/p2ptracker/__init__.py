"""The control plane: registry, origin, announce endpoint and the cells, in one process.

Reading order:

* :mod:`~p2ptracker.run`: the whole task tree
* :mod:`~p2ptracker.config`: what it is told
* :mod:`~p2ptracker.control_plane`: what it holds, opened and closed in one place
* :mod:`~p2ptracker.publish`, :mod:`~p2ptracker.spool`, :mod:`~p2ptracker.assemble`,
  :mod:`~p2ptracker.upload`: the way of a release into the registry
* :mod:`~p2ptracker.origin`: dealing a release's pieces to the fleet
* :mod:`~p2ptracker.cell_replica`, :mod:`~p2ptracker.cells`, :mod:`~p2ptracker.fleet`: what the
  cells say, how it is kept, and what people ask of it
* :mod:`~p2ptracker.orchestrator`: rollouts, accepted, conducted and steered; its parts are
  :mod:`~p2ptracker.targets`, :mod:`~p2ptracker.rollout_draft`, :mod:`~p2ptracker.rollout_view`,
  :mod:`~p2ptracker.rollout_store`, :mod:`~p2ptracker.rollout_steering`,
  :mod:`~p2ptracker.rollout_why` and :mod:`~p2ptracker.daemons`
* :mod:`~p2ptracker.storage`: database and blobs behind interfaces
* :mod:`~p2ptracker.api`: the HTTP API under ``/v1``
* :mod:`~p2ptracker.announce`: the BitTorrent tracker protocol for public clients
"""
