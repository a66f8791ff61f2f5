"""What should happen, decided by pure functions; the control plane only carries it out.

* :mod:`~p2pdeploy.planning.planner`: hosts, limits and a build -> a plan for one cell
* :mod:`~p2pdeploy.planning.bounds`: the ROLLOUT that such a plan just fits in
* :mod:`~p2pdeploy.planning.cell_rollout`: one cell's rollout, from plan to settled or reverted
* :mod:`~p2pdeploy.planning.steering`: to stop and go back, to try again, or not to wait for a host
* :mod:`~p2pdeploy.planning.activating` and :mod:`~p2pdeploy.planning.reverting`: the two ways
* :mod:`~p2pdeploy.planning.look`: one look, which takes a rollout a step further
* :mod:`~p2pdeploy.planning.grants`: which plans of a cell the next GO covers
* :mod:`~p2pdeploy.planning.converging`: who comes late to what settled, and when
* :mod:`~p2pdeploy.planning.conducted`: what is remembered of one cell
* :mod:`~p2pdeploy.planning.next_go`: when the next GO is due, and what it says
* :mod:`~p2pdeploy.planning.left_out`: since when no GO covers a host that may still hear
* :mod:`~p2pdeploy.planning.conductor`: one cell's rollouts, leases and settled builds, together
* :mod:`~p2pdeploy.planning.views`: a rollout as people and scripts see it
"""
