"""The fleet's certificate authority and its signing keys.

* :mod:`~p2ptracker.authority.create`: ``p2ptracker init``, once for each fleet
* :mod:`~p2ptracker.authority.first_documents`: who may sign what of releases, to begin with
* :mod:`~p2ptracker.authority.folder`: what it made, opened by the running control plane
* :mod:`~p2ptracker.authority.next_keys`: a signing key that takes over, as a file
* :mod:`~p2ptracker.authority.cell_rings`: the gossip keys of each cell
* :mod:`~p2ptracker.authority.issue`: certificates and credentials for hosts and operators
"""
