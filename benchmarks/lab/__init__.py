"""A network of machines on this one, for measurements: namespaces, shaped links, real programs.

Reading order:

* what is wanted: :mod:`~lab.plan` (machines, racks, cells, the rate of each link)
* :mod:`~lab.world` (a private world that ends with its first process),
  :mod:`~lab.network` (machines and cables in it; cut, heal, count), :mod:`~lab.goodput`
* what runs in it: :mod:`~lab.fleet` (control plane and daemons), :mod:`~lab.clients` (others)
* what is measured: :mod:`~lab.measure` (one payload, one client), :mod:`~lab.rollout` (ours),
  :mod:`~lab.meter` and :mod:`~lab.costs`
* what goes wrong meanwhile: :mod:`~lab.faults`
* what it is compared with, and how it is told: :mod:`~lab.bound`, :mod:`~lab.rows`

Needs root, iproute2 and util-linux.  Nothing of the machine itself is touched.
"""
