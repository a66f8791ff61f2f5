"""A network of machines on this one, for measurements: namespaces, shaped links, real programs.

Reading order:

* what is wanted: :mod:`~lab.plan` (machines, racks, cells, the rate of each link)
* :mod:`~lab.world` (a private world that ends with its first process),
  :mod:`~lab.network` (machines and cables in it; cut, heal, count), :mod:`~lab.goodput`
* what runs in it: :mod:`~lab.fleet` (control plane and daemons), :mod:`~lab.clients` (others)
* what the figures are compared with: :mod:`~lab.bound`

Needs root, iproute2 and util-linux.  Nothing of the machine itself is touched.
"""
