"""What people had the control plane do, on record.

* :mod:`~p2ptracker.audit.log`: the one writer of the chained log
* :mod:`~p2ptracker.audit.refusals`: how many refusals of one caller are worth an entry
* :mod:`~p2ptracker.audit.calls`: every HTTP call that goes on record, from its start to its answer

The entries and their chain: :mod:`p2pdeploy.messages.audit`.
"""
