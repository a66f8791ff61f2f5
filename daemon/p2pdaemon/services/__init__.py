"""How one host runs services: start, find again, stop, restart, check, and keep their logs.

Reading order:

* :mod:`~p2pdaemon.services.records`: a run's order, the proof that it runs, how it ended
* :mod:`~p2pdaemon.services.users`: as whom a service runs
* :mod:`~p2pdaemon.services.supervisor`: the program that runs one service once, over
  :mod:`~p2pdaemon.services.start_child` and :mod:`~p2pdaemon.services.end_child`, which use
  :mod:`~p2pdaemon.services.run_journal` and :mod:`~p2pdaemon.services.prctl`;
  :mod:`~p2pdaemon.services.take_user`: how its child becomes that user
* :mod:`~p2pdaemon.services.rundir`: the folder of runs, its lock, and settling what was left
* :mod:`~p2pdaemon.services.runner`: the daemon's side: start, adopt, wait, stop, over
  :mod:`~p2pdaemon.services.spawn`: starting one supervisor
* :mod:`~p2pdaemon.services.restart` and :mod:`~p2pdaemon.services.health`: pure cores
* :mod:`~p2pdaemon.services.check` and :mod:`~p2pdaemon.services.http_check`: one health check
* :mod:`~p2pdaemon.services.port`, :mod:`~p2pdaemon.services.logs` and
  :mod:`~p2pdaemon.services.log_pace`

Each service has a folder of its own; nothing here knows of releases, rollouts or other hosts.
"""
