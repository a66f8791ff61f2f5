"""Signed releases on the control plane: proposed, signed by publishers, kept fresh.

* :mod:`~p2ptracker.releases.desk`: the way of a release from pending to signed
* :mod:`~p2ptracker.releases.delegating`: who publishes what
* :mod:`~p2ptracker.releases.keeper`: the repository, stored before it is shown, and kept fresh
* :mod:`~p2ptracker.releases.release_keys`: the private keys that the control plane has

What the documents say and how they are judged is in :mod:`p2pdeploy.trust.releases`.
"""
