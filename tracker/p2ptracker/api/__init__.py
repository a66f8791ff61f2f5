"""The HTTP API under ``/v1``: JSON for people and scripts, msgpack for our own programs.

* :mod:`~p2ptracker.api.app`: all routes put together, and the server
* :mod:`~p2ptracker.api.tls`: Hypercorn over TLS, with the peer's identity in every request
* :mod:`~p2ptracker.api.http11`: HTTP/1.1 and nothing else
* :mod:`~p2ptracker.api.guard`: Host, Origin and certificate, checked before any route
* :mod:`~p2ptracker.api.authorise`: who may call what; the one place that says so
* :mod:`~p2ptracker.api.routes`: how a route says who may call it, and the routes there are
* :mod:`~p2ptracker.api.unread_body`: answers given before the body was read
* :mod:`~p2ptracker.api.body_room`: so many bytes of bodies at once, and none that dribbles
* :mod:`~p2ptracker.api.failures`: every error as ``{"error": ErrorBody}``
* :mod:`~p2ptracker.api.enrolment`: joining, renewing, revoking
* :mod:`~p2ptracker.api.signing`: what publishers sign, and who they are
* :mod:`~p2ptracker.api.releases`: publish, releases, manifests, egress
* :mod:`~p2ptracker.api.cells`: time, hosts of a cell, sync, deal: what daemons call
* :mod:`~p2ptracker.api.audit`: who may call what, who called what, the health page
* :mod:`~p2ptracker.api.fleet`: hosts, versions, where
* :mod:`~p2ptracker.api.rollouts`: rollouts, answered by the orchestrator
* :mod:`~p2ptracker.api.logs`: a service's log lines, asked from its host
* :mod:`~p2ptracker.api.lab`: v1 torrents for comparisons
"""
