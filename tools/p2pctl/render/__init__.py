"""Documents as people see them: pure functions from a document to a rich renderable.

* :mod:`~p2pctl.render.glyphs`: the sign and colour of every state
* :mod:`~p2pctl.render.listings`: releases, hosts, versions, lint findings
* :mod:`~p2pctl.render.plan`: what a rollout would do
* :mod:`~p2pctl.render.rollout`: a rollout live, and as plain lines
* :mod:`~p2pctl.render.rollout_tree`: its fault domains, as wide and as high as there is room
* :mod:`~p2pctl.render.swarm`: how its release spreads
* :mod:`~p2pctl.render.coverage_svg`: the same over time, as a picture
* :mod:`~p2pctl.render.trust`: who may do what, the state of the audit log
* :mod:`~p2pctl.render.demo`: the table at the end of the demo
"""
