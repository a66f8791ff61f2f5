"""How hosts get their identity, keep it, and lose it.

* :mod:`~p2ptracker.enrolment.desk`: tokens, enrolling, renewing: what the API calls
* :mod:`~p2ptracker.enrolment.opening`: letting hosts join, by token or certificate
* :mod:`~p2ptracker.enrolment.admitting`: letting a host in, in one transaction
* :mod:`~p2ptracker.enrolment.company`: hosts that a company's own CA knows
* :mod:`~p2ptracker.enrolment.inventory`: every host, and what its record becomes
* :mod:`~p2ptracker.enrolment.standing`: who is believed; asked before anything else is
* :mod:`~p2ptracker.enrolment.renewing`: whether a renewal is who it says
* :mod:`~p2ptracker.enrolment.revoking`: taking it back, and telling every cell
* :mod:`~p2ptracker.enrolment.rotating`: other gossip keys for a cell, without losing a member
* :mod:`~p2ptracker.enrolment.growing`: new hosts in a fleet that runs
* :mod:`~p2ptracker.enrolment.announce_on_lan`: where to look for it
* :mod:`~p2ptracker.enrolment.status`: how everybody stands, as people see it
* :mod:`~p2ptracker.enrolment.gate`: so many at a time and no more
"""
