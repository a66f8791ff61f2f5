"""How hosts get their identity, keep it, and lose it.

* :mod:`~p2ptracker.enrolment.desk`: tokens, enrolling, renewing, revoking: what the API calls
* :mod:`~p2ptracker.enrolment.inventory`: every host, and what its record becomes
* :mod:`~p2ptracker.enrolment.standing`: who is believed; asked before anything else is
* :mod:`~p2ptracker.enrolment.renewing`: whether a renewal is who it says
* :mod:`~p2ptracker.enrolment.gate`: so many at a time and no more
"""
