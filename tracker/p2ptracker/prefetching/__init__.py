"""Bytes ahead of a rollout: what is asked of each cell, and how far its hosts are.

* :mod:`~p2ptracker.prefetching.asked`: the next PREFETCH of a cell, and what it keeps
* :mod:`~p2ptracker.prefetching.view`: how far hosts are, by what they attest
* :mod:`~p2ptracker.prefetching.desk`: stores, issues, cancels

There is no table of its own: what is prefetched is what the newest PREFETCH of each cell says.
"""
