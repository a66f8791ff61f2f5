"""``p2pctl``: publish releases, plan and watch rollouts, run a whole fleet on one machine.

In reading order:

* :mod:`~p2pctl.cli`: the commands there are, and how every run of one ends
* :mod:`~p2pctl.options`, :mod:`~p2pctl.output`: what all commands share, ``--dir`` and ``-o json``
* :mod:`~p2pctl.fleet_dir`, :mod:`~p2pctl.client`, ``api/``, :mod:`~p2pctl.wire`: which fleet, its
  HTTP API by noun, and one call of it
* :mod:`~p2pctl.names`, :mod:`~p2pctl.rollout_request`: what is checked before anything is asked
* ``cmd_*.py``: one family of commands each; ``render/``: documents as tables and trees
* :mod:`~p2pctl.publishing`, :mod:`~p2pctl.uploading`: a publish, and its chunks on their way
* :mod:`~p2pctl.signing`, :mod:`~p2pctl.delegating`: what publishers sign, and who they are;
  :mod:`~p2pctl.rotating`, :mod:`~p2pctl.reviewing`: other keys for a role
* :mod:`~p2pctl.watching`: a rollout until it is final
* ``lab/``: a fleet of real processes on one machine, for ``up``, ``down`` and ``demo``
* ``demo/``: the story that ``p2pctl demo`` tells and checks

Rule: ``cli`` imports no command, so what is slow to import (HTTP, rich, hashing) costs only the
command that needs it.
"""
