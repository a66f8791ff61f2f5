"""The control plane: registry, origin, announce endpoint and the cells, in one process.

Reading order:

* :mod:`~p2ptracker.run`: the whole task tree
* :mod:`~p2ptracker.config`: what it is told, and :mod:`~p2ptracker.first_files`: how that begins
* :mod:`~p2ptracker.control_plane`: what it holds, opened and closed in one place;
  :mod:`~p2ptracker.assembly`: how its parts are tied together
* :mod:`~p2ptracker.registry`: the way of a release into the registry
* :mod:`~p2ptracker.origin`: dealing a release's pieces to the fleet, each host in its turn
  (:mod:`~p2ptracker.held_dealer`), from as many dealers as there is room for
  (:mod:`~p2ptracker.dealer_room`); :mod:`~p2ptracker.outliner`: what changed chunks consist of
* :mod:`~p2ptracker.authority`: the fleet's keys and certificates
* :mod:`~p2ptracker.enrolment`: how hosts get in, stay in, and are put out
* :mod:`~p2ptracker.releases`: releases signed by their publishers
* :mod:`~p2ptracker.keys`: signing keys that come and go
* :mod:`~p2ptracker.cells`: what the cells say, how it is kept, and what people ask of it
* :mod:`~p2ptracker.rollouts`: rollouts, accepted, conducted and steered
* :mod:`~p2ptracker.spreads`: how their releases spread, against what the network allows
* :mod:`~p2ptracker.api`: the HTTP API under ``/v1``
* :mod:`~p2ptracker.audit`: what people had it do, on record
* :mod:`~p2ptracker.announce`: the BitTorrent tracker protocol
* :mod:`~p2ptracker.storage`: database and blobs behind interfaces
* :mod:`~p2ptracker.supervision`: what it does by itself goes on
* :mod:`~p2ptracker.listener`: bounded connections
* :mod:`~p2ptracker.threads`: where disks, hashes and signatures are waited for
* :mod:`~p2ptracker.metrics`: every figure it exposes
"""
