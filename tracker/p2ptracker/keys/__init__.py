"""Signing keys come and go, while the control plane runs and without an outage.

* :mod:`~p2ptracker.keys.rotation`: the steps of a rotation of a key that signs orders; pure
* :mod:`~p2ptracker.keys.rotator`: makes the steps, and each of them once
* :mod:`~p2ptracker.keys.own_keys`: the key that takes over, in memory and in its file
* :mod:`~p2ptracker.keys.answers`: how far a rotation is
* :mod:`~p2ptracker.keys.publishing`: who signs from now on, signed here or by who has the key
* :mod:`~p2ptracker.keys.standing_orders`: orders that stand, sealed anew or forgotten
* :mod:`~p2ptracker.keys.release_roles`: the keys of releases themselves, and documents that are
  signed again before they expire
* :mod:`~p2ptracker.keys.release_proposals`: what is proposed to their owners for that
* :mod:`~p2ptracker.keys.status`: how every key stands
"""
