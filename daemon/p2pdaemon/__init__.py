"""The daemon of one host: fetches builds, runs services, activates when the protocol says so.

Reading order:

* :mod:`~p2pdaemon.run`: the whole task tree
* :mod:`~p2pdaemon.config`, :mod:`~p2pdaemon.journal`, :mod:`~p2pdaemon.clock`: what it starts from
* :mod:`~p2pdaemon.svc_mgr`: drives the activation core, carries out its effects
* :mod:`~p2pdaemon.get_and_run_svc`: one version fetched, switched to, or undone
* :mod:`~p2pdaemon.steps`: the idempotent steps of a change
* :mod:`~p2pdaemon.stage_build`: bringing one build onto the disk
* :mod:`~p2pdaemon.service_process`: one service's process and its health
* :mod:`~p2pdaemon.keep_running`: supervision outside any change
* :mod:`~p2pdaemon.store`: staged releases and the links ``current`` and ``previous``
* :mod:`~p2pdaemon.control`: the client of the control plane
* :mod:`~p2pdaemon.sync_cell`: the tasks that use it: time, seeds, delegate's exchange
* :mod:`~p2pdaemon.reporter`, :mod:`~p2pdaemon.host_api`: what it tells operators
* :mod:`~p2pdaemon.services`: the supervisor, health checks, restarts, logs, ports
"""
