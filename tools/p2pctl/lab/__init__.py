"""A fleet of real processes on one machine, for ``up``, ``down`` and ``demo``.

* :mod:`~p2pctl.lab.layout`: the hosts of a fleet and the files of its folder
* :mod:`~p2pctl.lab.checking`: whether the folder is ours, and whole
* :mod:`~p2pctl.lab.subnet`: a free 127.A.B.0/24, claimed by binding
* :mod:`~p2pctl.lab.processes`: start a process, find it again, stop it
* :mod:`~p2pctl.lab.programs`: which processes a fleet consists of, and which of them run
* :mod:`~p2pctl.lab.joining`: its authorities, and an identity for every host
* :mod:`~p2pctl.lab.locking`: one ``up`` at a time on a folder, one at a time on its processes
* :mod:`~p2pctl.lab.starting`, :mod:`~p2pctl.lab.readiness`, :mod:`~p2pctl.lab.stopping`: the
  fleet as a whole

::

    DIR/                    0700
        fleet.json          0600, where everything listens (p2pctl.fleet_dir)
        ca/  trust/         authorities and keys (p2ptracker init)
        operator/           the certificate that p2pctl presents
        lock                held by the `up` at work
        inventory.json      the hosts, for the control plane
        tracker.toml        the control plane's configuration
        tracker/            the control plane's data
        hosts/NAME/         daemon.toml and everything of that host
        logs/NAME.log       what each process wrote
        run/NAME.json       which process it is: pid, start time, boot id
        run/lock            held by whoever starts or stops processes
"""
