"""How releases spread: recorded for each rollout while it goes on, kept afterwards.

* :mod:`~p2ptracker.spreads.terms`: what it is told of a rollout, and what is stored
* :mod:`~p2ptracker.spreads.trail`: what one host had when, between its words
* :mod:`~p2ptracker.spreads.curve`: coverage over time, as few points as a plot needs
* :mod:`~p2ptracker.spreads.measured_limit`: what the network allows, as hosts measured it
* :mod:`~p2ptracker.spreads.spread`: one rollout: figures, stragglers and the curve
* :mod:`~p2ptracker.spreads.recorder`: all that are under way, stored and shown
"""
