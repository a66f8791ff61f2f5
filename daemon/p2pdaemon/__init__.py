"""The daemon of one host: fetches builds, runs services, activates when the protocol says so.

Reading order:

* :mod:`~p2pdaemon.run`: the whole task tree, over the parts of :mod:`~p2pdaemon.assembly`
  and :mod:`~p2pdaemon.assemble_releases`
* :mod:`~p2pdaemon.config`, :mod:`~p2pdaemon.journal`, :mod:`~p2pdaemon.clock`,
  :mod:`~p2pdaemon.state_lock`, :mod:`~p2pdaemon.log`: what it starts from
* :mod:`~p2pdaemon.join`, over :mod:`~p2pdaemon.enrolment_client` and
  :mod:`~p2pdaemon.find_on_lan`: becoming a host of a fleet; :mod:`~p2pdaemon.own_identity`: who
  this host is; :mod:`~p2pdaemon.keep_identity`, :mod:`~p2pdaemon.renewal_schedule`,
  :mod:`~p2pdaemon.renew` and :mod:`~p2pdaemon.take_renewed`: staying it;
  :mod:`~p2pdaemon.join_by_certificate`: by the company's CA
* :mod:`~p2pdaemon.learn_trust`, :mod:`~p2pdaemon.refused`, :mod:`~p2pdaemon.doorkeeper`: who is
  believed no more, and who may connect; :mod:`~p2pdaemon.follow_orders`: who signs orders
* :mod:`~p2pdaemon.svc_mgr`: drives the activation core and carries out its effects, one
  service's in :mod:`~p2pdaemon.service_tasks`, with :mod:`~p2pdaemon.task_slot` and
  :mod:`~p2pdaemon.isolate`
* :mod:`~p2pdaemon.get_and_run_svc`: one change of one service, or its undoing, with
  :mod:`~p2pdaemon.failure_note` and :mod:`~p2pdaemon.race`
* :mod:`~p2pdaemon.keep_running`: supervision outside any change
* :mod:`~p2pdaemon.service_process`: one service's process and its health, started as
  :mod:`~p2pdaemon.launch` reads in its build
* :mod:`~p2pdaemon.stage_build`: bringing one build onto the disk, over :mod:`~p2pdaemon.mesh`
  and :mod:`~p2pdaemon.release_torrents`, by what :mod:`~p2pdaemon.release_parts` says of it and
  its publishers signed (:mod:`~p2pdaemon.verify_release`, over :mod:`~p2pdaemon.judge_bundle`);
  :mod:`~p2pdaemon.keep_indexes`: what the next one needs; :mod:`~p2pdaemon.tell_seeds`: what is
  seeded, to a dealer that forgot
* :mod:`~p2pdaemon.fetch_build`: its bytes; :mod:`~p2pdaemon.make_room`: room for them, by the
  books of :mod:`~p2pdaemon.disk_room` (:mod:`~p2pdaemon.reservations`) and what
  :mod:`~p2pdaemon.release_inventory` finds; :mod:`~p2pdaemon.disk`: errors of the disk
* :mod:`~p2pdaemon.store`: staged releases and the links ``current`` and ``previous``, kept in
  bounds by :mod:`~p2pdaemon.collector` and :mod:`~p2pdaemon.housekeeping`; logs by
  :mod:`~p2pdaemon.rotate_logs`
* :mod:`~p2pdaemon.cell_feed`: from gossip to the core
* :mod:`~p2pdaemon.control`, over :mod:`~p2pdaemon.control_calls` and
  :mod:`~p2pdaemon.answers`: the control plane's client;
  :mod:`~p2pdaemon.sync_cell`: a delegate's exchange; :mod:`~p2pdaemon.learn_cell`: time and
  seeds; :mod:`~p2pdaemon.learn_gateways`: whom to know in other cells, both kept by
  :mod:`~p2pdaemon.kept_answer`; all by :mod:`~p2pdaemon.tries`
* :mod:`~p2pdaemon.reporter`, :mod:`~p2pdaemon.metrics`, :mod:`~p2pdaemon.host_api`,
  :mod:`~p2pdaemon.release_cache`: what operators are told
* :mod:`~p2pdaemon.stop_services`: when the daemon is down
* :mod:`~p2pdaemon.services`: the supervisor, health checks, restarts, logs, ports
"""
