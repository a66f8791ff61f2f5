"""The control plane's HTTP API as typed calls, one module per noun.

In reading order:

* :mod:`~p2pctl.api.calls`: what all of them stand on
* :mod:`~p2pctl.api.releases`, :mod:`~p2pctl.api.rollouts`, :mod:`~p2pctl.api.hosts`,
  :mod:`~p2pctl.api.caches`: what is deployed, how it gets there, where it is, and what lies there
* :mod:`~p2pctl.api.enrolment`, :mod:`~p2pctl.api.operators`, :mod:`~p2pctl.api.access`: which
  hosts and which people belong to the fleet, and what people may do and did
* :mod:`~p2pctl.api.keys`: what signs

Every path and parameter of the API stands here.  A new noun is a new module, and one more base of
:class:`~p2pctl.client.ApiClient`.
"""
