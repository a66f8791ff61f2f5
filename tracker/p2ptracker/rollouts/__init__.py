"""Rollouts: accepted, conducted and steered.

* :mod:`~p2ptracker.rollouts.orchestrator`: carries out what the others and the planner decide
* :mod:`~p2ptracker.rollouts.release`: the release a rollout brings
* :mod:`~p2ptracker.rollouts.targets`: its hosts, limits and baseline
* :mod:`~p2ptracker.rollouts.in_use`: the releases that must stay signed for them
* :mod:`~p2ptracker.rollouts.draft`: the plan that is shown, and accepted
* :mod:`~p2ptracker.rollouts.steering`: an operator's word
* :mod:`~p2ptracker.rollouts.view`: a rollout as it stands now
* :mod:`~p2ptracker.rollouts.why`: why it stands there
* :mod:`~p2ptracker.rollouts.store`: rollouts in the database

Targets, in_use, draft, steering, view and why are pure.
"""
