"""Rollouts: accepted, conducted and steered.

* :mod:`~p2ptracker.rollouts.orchestrator`: carries out what the others and the planner decide
* :mod:`~p2ptracker.rollouts.ledger`: what is under way, and how a change of it is stored
* :mod:`~p2ptracker.rollouts.survey`: what a rollout is planned from
* :mod:`~p2ptracker.rollouts.release`: the release a rollout brings
* :mod:`~p2ptracker.rollouts.targets`: its hosts, limits and baseline
* :mod:`~p2ptracker.rollouts.in_use`: the releases that must stay signed for them
* :mod:`~p2ptracker.rollouts.draft`: the plan that is shown, and accepted
* :mod:`~p2ptracker.rollouts.approving`: a rollout that people have to sign first
* :mod:`~p2ptracker.rollouts.approval`: who has signed it, and whether that is enough
* :mod:`~p2ptracker.rollouts.unsigned`: it as it stands until then
* :mod:`~p2ptracker.rollouts.opening`: it is planned anew, inside what was signed
* :mod:`~p2ptracker.rollouts.standing`: what stands is approved anew by keys that take over
* :mod:`~p2ptracker.rollouts.steering`: an operator's word
* :mod:`~p2ptracker.rollouts.view`: a rollout as it stands now
* :mod:`~p2ptracker.rollouts.why`: why it stands there
* :mod:`~p2ptracker.rollouts.spreading`: how its release spreads
* :mod:`~p2ptracker.rollouts.host_rows`: how far each of its hosts is
* :mod:`~p2ptracker.rollouts.store`: rollouts in the database

Approval, draft, host_rows, in_use, opening, steering, targets, unsigned, view and why are pure.
"""
