"""Rate limits: what people set, and what each cell is told of it.

Reading order: :mod:`~p2ptracker.rates.rules` (pure), :mod:`~p2ptracker.rates.desk`.
"""
